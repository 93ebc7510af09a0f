import { vi } from 'vitest';

/** One request that the client made, and the answer that the test writes. */
export class FakeRequest {
  readonly url: URL;
  readonly channels: readonly string[];
  /** The cursor that it continues from. */
  readonly cursor: string;
  readonly headers: Headers;
  readonly method: string;
  readonly credentials: RequestCredentials | undefined;
  #answer: (response: Response) => void;
  #fail: (error: unknown) => void;
  #stream: ReadableStreamDefaultController<Uint8Array> | undefined;
  #encoder = new TextEncoder();
  #answered: () => void;
  /** The client is gone. */
  aborted = false;

  constructor(input: string, init: RequestInit, answer: (response: Response) => void, fail: (error: unknown) => void) {
    const body = init.body ? (JSON.parse(String(init.body)) as { channels: string[]; lastEventId: string }) : undefined;
    this.url = new URL(input);
    this.headers = new Headers(init.headers);
    this.method = init.method ?? 'GET';
    this.credentials = init.credentials;
    this.channels = body?.channels ?? this.url.searchParams.getAll('channel');
    this.cursor = body?.lastEventId ?? this.headers.get('Last-Event-ID') ?? '';
    this.#answer = answer;
    this.#fail = fail;
    const abort = (): void => {
      this.aborted = true;
      fail(init.signal?.reason);
      try {
        this.#stream?.error(init.signal?.reason);
      } catch {
        // it has ended
      }
    };
    init.signal?.addEventListener('abort', abort);
    this.#answered = () => init.signal?.removeEventListener('abort', abort);
  }

  get token(): string | undefined {
    return this.headers.get('Authorization')?.replace('Bearer ', '');
  }

  /** Begins a stream, with gateway.open. Channels in `plain` have no history. */
  async open({
    id = 'c0',
    heartbeat = 20_000,
    plain = [] as string[],
    joined = [] as string[],
    retry = 1000,
  } = {}): Promise<this> {
    await this.begin();
    const starts = Object.fromEntries(
      [...this.channels, ...joined].map((name) => [name, plain.includes(name) ? null : '0-0']),
    );
    return this.raw(
      `retry: ${retry}\nid: ${id}\nevent: gateway.open\ndata: ${JSON.stringify({ connection: 'k1', replica: 'r1', channels: starts, heartbeat })}\n\n`,
    );
  }

  /** Begins a stream that says nothing. */
  async begin(type = 'text/event-stream; charset=utf-8'): Promise<this> {
    const body = new ReadableStream<Uint8Array>({
      start: (stream) => {
        this.#stream = stream;
      },
    });
    this.#answer(new Response(body, { headers: { 'Content-Type': type } }));
    return settled(this);
  }

  async raw(text: string): Promise<this> {
    this.#stream?.enqueue(this.#encoder.encode(text));
    return settled(this);
  }

  async send(type: string, data: object, id = ''): Promise<this> {
    return this.raw(`${id && `id: ${id}\n`}event: ${type}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  /** An event of the type `t` with n as its data, and `c<n>` as cursor. */
  async event(channel: string, n: number, id = `c${n}`): Promise<this> {
    return this.send('t', { channel, event_id: `e${n}`, type: 't', timestamp: 'T', data: n }, id);
  }

  async close(reason: string, { reconnect = true, retry = 2000 } = {}): Promise<this> {
    await this.send('gateway.close', { reason, reconnect, retry });
    return this.end();
  }

  async end(): Promise<this> {
    try {
      this.#stream?.close();
    } catch {
      // the client has left
    }
    return settled(this);
  }

  /** The connection breaks, or was never made. */
  async fail(): Promise<this> {
    this.#fail(new TypeError('fetch failed'));
    this.#stream?.error(new TypeError('terminated'));
    return settled(this);
  }

  async json(status: number, body: object, headers: Record<string, string> = {}): Promise<this> {
    this.#answered();
    this.#answer(
      new Response(JSON.stringify(body), { status, headers: { 'Content-Type': 'application/json', ...headers } }),
    );
    return settled(this);
  }

  async problem(status: number, detail: string, more: object = {}): Promise<this> {
    return this.json(
      status,
      { type: 'about:blank', title: 'x', status, detail, ...more },
      { 'Content-Type': 'application/problem+json' },
    );
  }
}

async function settled<Value>(value: Value): Promise<Value> {
  await vi.advanceTimersByTimeAsync(0);
  await vi.dynamicImportSettled();
  await vi.advanceTimersByTimeAsync(0);
  return value;
}

/** A gateway that does what the test says. Needs fake timers. */
export class FakeGateway {
  readonly requests: FakeRequest[] = [];

  readonly fetch = ((input: string, init: RequestInit = {}) => {
    if (init.signal?.aborted) return Promise.reject(init.signal.reason);
    return new Promise<Response>((resolve, reject) =>
      this.requests.push(new FakeRequest(input, init, resolve, reject)),
    );
  }) as typeof fetch;

  /** The newest request, once there are this many. */
  async request(count: number): Promise<FakeRequest> {
    await settled(null);
    const request = this.requests[count - 1];
    if (!request || this.requests.length !== count)
      throw new Error(`${this.requests.length} requests were made, want ${count}`);
    return request;
  }
}

/** Lets this much time pass. */
export async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
  await settled(null);
}
