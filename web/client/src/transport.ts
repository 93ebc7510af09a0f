import { ApplicationError, type Problem, TransportError } from './errors.js';
import { createParser } from './parser.js';

/** What one attempt asks for. */
export interface Subscription {
  url: URL;
  channels: readonly string[];
  cursor: string;
  lastN?: number;
  maxAge?: number | string;
  token: string | undefined;
  headers?: Record<string, string>;
  credentials: RequestCredentials;
  fetch: typeof fetch;
  signal: AbortSignal;
  /** Types to listen for, and how to hear of new ones: EventSource tells of no others. */
  types: ReadonlySet<string>;
  onType(listen: (type: string) => void): void;
}

/** Gets what comes. It ignores what comes after the attempt has ended. */
export interface Sink {
  /** Something came, if only a heartbeat. */
  heard(): void;
  /** Data is the parsed JSON; an empty id leaves the cursor where it is. */
  event(type: string, data: unknown, id: string): void;
  retry(ms: number): void;
}

/** Opens a stream, and rejects when it is over: always, as no stream ends by itself. */
export type Open = (subscription: Subscription, sink: Sink) => Promise<never>;

/** URLs longer than this make a POST, as proxies cut lines at 4 or 8 KiB. */
const MAX_URL = 2000;

/** Passes on what the gateway wrote; what is no JSON is not the gateway's. */
export function parse(sink: Sink, type: string, data: string, id: string): void {
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    return;
  }
  sink.event(type, value, id);
}

export const openFetch: Open = async (subscription, sink) => {
  const response = await send(subscription, {});
  if (!response.body || !response.headers.get('Content-Type')?.startsWith('text/event-stream')) {
    throw new TransportError('protocol', 'the answer is no event stream', { status: response.status });
  }
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  const feed = createParser({ event: (...said) => parse(sink, ...said), retry: sink.retry });
  for (;;) {
    const { done, value } = await reader.read().catch(broken);
    if (done) throw new TransportError('ended', 'the stream ended');
    sink.heard();
    feed(decoder.decode(value, { stream: true }));
  }
};

/** Sends the request, and throws where the answer is no success. */
export async function send(subscription: Subscription, more: Record<string, string>): Promise<Response> {
  const { channels, cursor, lastN, maxAge, token, signal } = subscription;
  const url = urlOf(subscription, more);
  const headers: Record<string, string> = { ...subscription.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  const init: RequestInit = { headers, signal, cache: 'no-store', credentials: subscription.credentials };
  const long = url.length > MAX_URL;
  if (long) {
    headers['Content-Type'] = 'application/json';
    init.method = 'POST';
    init.body = JSON.stringify({ channels, lastEventId: cursor, lastN, maxAge, ...more });
  } else if (cursor) headers['Last-Event-ID'] = cursor; // and not in the URL, which is logged
  const response = await subscription.fetch(long ? subscription.url.href : url, init).catch(broken);
  if (response.ok) return response;
  const type = response.headers.get('Content-Type');
  const problem: Problem | undefined = type?.startsWith('application/problem+json')
    ? await response.json().catch(() => undefined)
    : undefined;
  const { status } = response;
  const message = problem?.detail ?? `status ${status}`;
  if (problem && status < 500 && status !== 408 && status !== 429) {
    const code = ({ 400: 'malformed', 401: 'unauthorized', 403: 'forbidden' } as const)[status] ?? 'refused';
    throw new ApplicationError(code, message, { status, problem, channel: problem.channel });
  }
  const seconds = Number(response.headers.get('Retry-After'));
  throw new TransportError('http', message, { status, problem, retryAfter: seconds > 0 ? seconds * 1000 : undefined });
}

export function broken(cause: unknown): never {
  throw new TransportError('network', 'the gateway cannot be reached', { cause });
}

export function urlOf(
  { url, channels, lastN, maxAge }: Subscription,
  more: Record<string, string | undefined>,
): string {
  const full = new URL(url);
  for (const channel of channels) full.searchParams.append('channel', channel);
  for (const [name, value] of Object.entries({ lastN, maxAge, ...more })) {
    if ((value ?? '') !== '') full.searchParams.set(name, String(value));
  }
  return full.href;
}

/** @throws TypeError where it is no URL */
export function endpoint(url: string | URL): URL {
  const full = new URL(url, globalThis.location?.href);
  if (!full.pathname.endsWith('/v1/events')) full.pathname = full.pathname.replace(/\/*$/, '/v1/events');
  return full;
}

/** Whether fetch can read an answer while it comes. */
export function canStream(): boolean {
  return typeof Response === 'function' && 'body' in Response.prototype;
}
