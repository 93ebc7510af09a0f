import { ApplicationError, connect, createSurface, endpoint, type GatewayError, TransportError } from './core.js';
import { createHub, type Hub, type HubOptions, tabLock } from './hub.js';
import type { Message, PlainError, Report, Request } from './messages.js';
import { cursorOf, nowhere } from './positions.js';
import type { Connection, ConnectOptions, EventMap, UntypedEvents } from './types.js';
import type { WorkerOrder } from './worker.js';

/** How often in ms a tab that is looked at asks whether the connection is still held. */
const CHECK = 15_000;
/** How long in ms the answer may take. */
const ANSWER = 3000;

/** What `connectShared` takes: the options of `connect` that have a meaning for all tabs. */
export interface SharedOptions extends Omit<ConnectOptions, 'cursor' | 'lastN' | 'maxAge' | 'store'> {
  /**
   * Who the tabs belong to. Tabs with the same gateway and the same key share a connection, and with it the token of
   * one of them. So it names the user, and is another when another signs in; `''` only where everybody may read
   * everything.
   */
  storageKey: string;

  /**
   * The URL of the script `@realtime-gateway/client/worker`, for a SharedWorker that holds the connection. Without
   * it, or where there is none, one of the tabs does.
   */
  worker?: string | URL;
}

/**
 * Connects like `connect`, with one connection for all tabs of the origin, so that the browser's limit of six is
 * never reached. What comes back is used like any other connection. Where the browser lacks Web Locks or
 * BroadcastChannel, as on pages that are not secure, every tab has its own.
 *
 * @throws TypeError where the URL or a channel cannot be one
 */
export function connectShared<Events extends EventMap<Events> = UntypedEvents>(
  url: string | URL,
  options: SharedOptions,
): Connection<Events> {
  const { storageKey, worker, signal, channels = [], iteratorBuffer, ...rest } = options;
  const address = endpoint(url).href;
  if (typeof BroadcastChannel !== 'function' || !globalThis.navigator?.locks) return connect<Events>(url, options);

  const { locks } = navigator;
  const name = ['realtime-gateway', storageKey, address].join('\n');
  const tab = crypto.randomUUID();
  const bus = new BroadcastChannel(name);
  const gone = new AbortController();
  const over = new Promise<void>((resolve) => gone.signal.addEventListener('abort', () => resolve()));
  let hub: Hub | undefined;
  let shared: SharedWorker | undefined;
  let joined = false; // the others may know of this tab
  let alone = false;
  let announcing = false;
  let version = -1;
  let heard = false;
  let checkTimer: ReturnType<typeof setTimeout> | undefined;

  /** Where this tab is: what is not newer, it has. */
  const at = nowhere();
  /** Channels without history, of which nothing can be known. */
  let plain = new Set<string>();
  /** Those of them that had no connection for a while. */
  let interrupted = new Set<string>();

  const surface = createSurface(channels, iteratorBuffer ?? 1000, {
    cursor: () => cursorOf(at),
    changed: announce,
    listened() {},
    reconnect: () => send({ kind: 'reconnect' }),
    close,
  });
  const view = surface.connection;
  const wants = (channel: string): boolean => view.channels.includes(channel);

  function send(message: Message): void {
    if (gone.signal.aborted) return;
    if (!alone) bus.postMessage(message);
    receive(message);
  }

  function receive(message: Message): void {
    if (gone.signal.aborted) return;
    if (isReport(message)) told(message);
    else hub?.receive(message);
  }

  function want(more: Partial<Extract<Request, { kind: 'want' }>> = {}): void {
    if (joined) send({ kind: 'want', tab, channels: view.channels, ...more });
  }

  /** Tells what is wanted, once for all changes of a moment. */
  function announce(): void {
    if (announcing) return;
    announcing = true;
    queueMicrotask(() => {
      announcing = false;
      for (const channel of [...Object.keys(at), ...plain]) {
        if (wants(channel) || rest.autoSubscribe) continue;
        delete at[channel];
        plain.delete(channel);
      }
      want();
    });
  }

  function told(report: Report): void {
    heard = true;
    const { kind } = report;
    if (kind === 'lead') {
      interrupted = new Set([...interrupted, ...plain]);
      plain = new Set();
      version = -1;
      const { status } = view.state;
      if (status === 'live') surface.state({ status: 'reconnecting', reason: 'takeover', open: null });
      want({ at });
    } else if (kind === 'state') {
      for (const [channel, position] of Object.entries(report.at)) {
        if (!wants(channel) && !rest.autoSubscribe) continue;
        if (position === null) plain.add(channel);
        else at[channel] ??= position;
      }
      if (report.version === version) return;
      version = report.version;
      const error = report.state.error && revive(report.state.error);
      surface.state({ ...report.state, error });
      if (report.state.status === 'closed') surface.end(error);
      for (const channel of interrupted) {
        if (!plain.has(channel) || report.state.status !== 'live') continue;
        interrupted.delete(channel);
        surface.gap({ channel, reason: 'no_history', from: '', to: '' });
      }
    } else if (kind === 'event') {
      const { channel } = report.event;
      if (!report.shared && !wants(channel)) return;
      if (report.at !== undefined) {
        if (report.at <= (at[channel] ?? -1n)) return; // an older one, for a tab that is behind
        at[channel] = report.at;
      }
      surface.event(report.event);
    } else if (kind === 'gap') {
      const { channel, reason } = report.gap;
      if (!report.shared && !wants(channel)) return;
      if (report.at !== undefined) {
        // What Redis lost is gone for all; what was trimmed, only for who has not read it.
        if (reason !== 'lost' && report.at <= (at[channel] ?? -1n)) return;
        at[channel] = report.at;
      }
      surface.gap(report.gap);
    } else if (kind === 'error') {
      const { channel } = report.error;
      if (report.shared || (channel !== undefined && wants(channel))) surface.error(revive(report.error));
    } else if (report.tab === tab) void answer(report);
  }

  async function answer({ question, refresh }: Extract<Report, { kind: 'ask' }>): Promise<void> {
    const { token } = rest;
    try {
      const value = typeof token === 'function' ? await token({ refresh, signal: gone.signal }) : token;
      send({ kind: 'token', question, value: value ?? '' });
    } catch (error) {
      send({ kind: 'token', question, failure: String(error) });
    }
  }

  /** Waits until it is this tab's turn to hold the connection. */
  function contend(options: LockOptions): void {
    locks
      .request(name, options, () => {
        hub = createHub(name, address, rest, false, send);
        return over;
      })
      .catch(() => {
        // Another one has taken it, as this tab did not answer.
        hub?.close();
        if (hub && !gone.signal.aborted) contend({ signal: gone.signal });
        hub = undefined;
      });
  }

  /** Asks whether the connection is held by anybody who is awake, and takes it otherwise. */
  function check(awake = false): void {
    clearTimeout(checkTimer);
    if (gone.signal.aborted || globalThis.document?.visibilityState === 'hidden') return;
    heard = false;
    send({ kind: 'ping', tab, awake });
    checkTimer = setTimeout(() => {
      if (!heard && !hub) contend({ steal: true });
      checkTimer = setTimeout(check, CHECK);
    }, ANSWER);
  }

  function close(): void {
    if (gone.signal.aborted) return;
    send({ kind: 'bye', tab });
    gone.abort();
    clearTimeout(checkTimer);
    hub?.close();
    hub = undefined;
    shared?.port.close();
    bus.close();
    signal?.removeEventListener('abort', close);
    surface.state({ status: 'closed', reason: 'close', error: null, retryAt: null, open: null });
    surface.end(null);
  }

  /** Has the worker hold the connection. False where there is none. */
  function employ(): boolean {
    if (!worker || typeof SharedWorker !== 'function') return false;
    const { fetch: _, token, ...plainOptions } = rest;
    const order: WorkerOrder = {
      name,
      url: address,
      options: plainOptions satisfies HubOptions,
      asks: token !== undefined,
    };
    try {
      shared = new SharedWorker(worker, { type: 'module', name: 'realtime-gateway' });
      shared.onerror = () => contend({ signal: gone.signal }); // its script cannot be loaded
      shared.port.postMessage(order);
      return true;
    } catch {
      return false;
    }
  }

  bus.onmessage = ({ data }: MessageEvent<Message>) => receive(data);
  const { document, addEventListener } = globalThis;
  document?.addEventListener('visibilitychange', () => check(true), gone);
  addEventListener?.(
    'pageshow',
    (event) => {
      // What was said while the page was in the back/forward cache, it did not hear.
      if (event.persisted) want({ at, slept: true });
    },
    gone,
  );
  signal?.addEventListener('abort', close);
  if (signal?.aborted) close();
  else {
    // While this tab lives, nobody else gets its lock; so whoever holds the connection knows.
    locks
      .request(tabLock(name, tab), () => {
        if (gone.signal.aborted) return;
        joined = true;
        want();
        if (!employ()) contend({ signal: gone.signal });
        checkTimer = setTimeout(check, ANSWER);
        return over;
      })
      .catch(() => {
        if (gone.signal.aborted) return;
        // The tabs cannot find each other, as in a frame without an origin, or where storage is forbidden.
        alone = joined = true;
        bus.close();
        hub = createHub(name, address, rest, false, send);
      });
  }
  return view as unknown as Connection<Events>;
}

function isReport(message: Message): message is Report {
  return ['lead', 'state', 'event', 'gap', 'error', 'ask'].includes(message.kind);
}

function revive({ kind, code, message, ...details }: PlainError): GatewayError {
  return kind === 'transport'
    ? new TransportError(code as TransportError['code'], message, details)
    : new ApplicationError(code as ApplicationError['code'], message, details);
}
