import { ApplicationError, GatewayError, TransportError } from './errors.js';
import { isOffline, watchPage } from './page.js';
import { checkName, createSurface, REST } from './surface.js';
import { canStream, endpoint, type Open, openFetch, type Sink } from './transport.js';
import type {
  AnyEvent,
  Connection,
  ConnectionState,
  ConnectOptions,
  EventMap,
  Gap,
  OpenInfo,
  Status,
  Transport,
  UntypedEvents,
} from './types.js';

/** How long in ms additions to the channels wait for others. */
const SETTLE = 20;
/** How long in ms a channel that nobody wants is kept: the next page may want it. */
const LINGER = 1000;
/** How long in ms events wait for a stream that is to replace theirs. */
const HOLD = 2000;
/** A stream this old, in ms, was a success, and the backoff starts anew. */
const STEADY = 5000;
/** In ms, until gateway.open says what it is. */
const HEARTBEAT = 20_000;
/** After how many of them without a sign a stream is dead. */
const SILENCE = 2.5;
/** How many streams may stay mute before polls are tried, and how long in ms until streams are again. */
const MUTE = 2;
const POLLING = 300_000;
/** The longest that the gateway keeps a poll waiting, in ms. */
const POLL = 25_000;
/** In ms: a timer that is longer fires at once. */
const LONGEST = 2 ** 31 - 1;

/** What few need is loaded when it is needed. */
async function load(transport: Transport): Promise<Open> {
  if (transport === 'fetch') return openFetch;
  const { openEventSource, openPoll } = await import('./fallback.js');
  return transport === 'poll' ? openPoll : openEventSource;
}

type Timer = ReturnType<typeof setTimeout> | undefined;

/** One request, and the stream that it becomes. */
interface Attempt {
  channels: readonly string[];
  readonly abort: AbortController;
  /** Whether the token was asked for as a new one. */
  refreshed: boolean;
  /** Whether the cursor is on its way: from here on the events of the stream before wait. */
  asked: boolean;
  /** When gateway.open came, in ms since the epoch; NaN before. */
  openedAt: number;
  /** What it says that the stream has. */
  joined: readonly string[];
  /** Those of them without history. */
  plain: readonly string[];
}

/** The data of gateway.close and gateway.error. */
interface Notice {
  channel: string;
  reason: string;
  reconnect?: boolean;
  retry?: number;
}

/**
 * Connects to a gateway, stays connected, and continues after every interruption
 * where it stopped.
 *
 * @param url the gateway's address, such as `https://rt.example.com`, or relative to the page, or a function
 *   that is asked before every attempt; `/v1/events` is appended unless it ends so
 * @throws TypeError where the URL or a channel cannot be one; everything later is told by `onError` and `state`
 */
export function connect<Events extends EventMap<Events> = UntypedEvents>(
  url: string | URL | (() => string | URL),
  options: ConnectOptions = {},
): Connection<Events> {
  const { channels: fixed = [], autoSubscribe, token, store } = options;
  const { maxAttempts = Number.POSITIVE_INFINITY, minDelay = 500, maxDelay = 30_000, openTimeout = 10_000 } = options;
  for (const name of fixed) checkName(name);
  if (typeof url !== 'function') endpoint(url);
  const request = options.fetch ?? ((input, init) => fetch(input, init));

  const { transport: chosen = 'auto' } = options;
  const auto = chosen === 'auto';
  const preferred = !auto
    ? chosen
    : options.fetch || canStream()
      ? 'fetch'
      : typeof EventSource === 'function'
        ? 'eventsource'
        : 'poll';
  let transport: Transport = preferred;
  let mute = 0;

  let cursor = options.cursor ?? store?.get() ?? '';

  const listening = new AbortController();
  let over = false; // by close()
  let active: Attempt | undefined; // the stream that is open
  let pending: Attempt | undefined; // the attempt at another, or the first
  let held: (() => void)[] = []; // what the active stream said since the pending one was asked for
  let doubles = new Set<string>(); // events without a position, which may come from both
  let interrupted: readonly string[] = []; // channels without history that a stream had when it ended
  const refused = new Set<string>();
  let failures = 0; // attempts in a row
  let refresh = false;
  let serverRetry: number | undefined;
  let heartbeat = HEARTBEAT;
  let lastHeard = 0;
  let listen: ((type: string) => void) | undefined;

  let retryTimer: Timer;
  let openTimer: Timer;
  let watchTimer: Timer;
  let pollTimer: Timer;
  let changeTimer: Timer;
  let changeAt = 0;

  const surface = createSurface(fixed, options.iteratorBuffer ?? 1000, {
    cursor: () => cursor,
    changed,
    listened: (type) => listen?.(type),
    reconnect: () => {
      if (over) return;
      refused.clear();
      fresh();
      begin('reconnect');
    },
    close,
  });
  const view = surface.connection;

  /** What is asked for: all that is wanted and not refused. */
  const wanted = (): readonly string[] => view.channels.filter((name) => !refused.has(name));

  /** Nothing that failed before says anything about now. */
  function fresh(): void {
    failures = mute = 0;
    transport = preferred;
  }

  /** How long in ms a change may wait that has the stream have what is wanted; undefined where it has. */
  function due(): number | undefined {
    const asked = pending ?? active;
    const now = wanted();
    if (!asked) return 0;
    if (now.some((name) => !asked.channels.includes(name) && !asked.joined.includes(name))) return SETTLE;
    return asked.channels.some((name) => !now.includes(name)) ? LINGER : undefined;
  }

  function changed(added?: string): void {
    if (added !== undefined) refused.delete(added);
    // While a retry waits, it will ask for what is wanted then; a refusal stands unless there is something new.
    if (pending || active || (retryTimer === undefined && (added !== undefined || view.state.status !== 'closed'))) {
      change(due());
    }
  }

  /** Looks after this many ms, or sooner, whether the stream has what is wanted. */
  function change(delay: number | undefined): void {
    if (over || delay === undefined) return;
    const at = Date.now() + delay;
    if (changeTimer !== undefined && changeAt <= at) return;
    clearTimeout(changeTimer);
    changeAt = at;
    changeTimer = setTimeout(() => {
      changeTimer = undefined;
      if (retryTimer === undefined && due() !== undefined) begin('');
    }, delay);
  }

  /** Makes an attempt. A stream that is there goes on until the new one is open. */
  function begin(reason: string): void {
    clearTimeout(retryTimer);
    retryTimer = undefined;
    if (pending) leave(pending, false);
    if (over || pending) return; // by a handler of what was held
    const channels = wanted();
    if (channels.length === 0 && !autoSubscribe) {
      if (active) cursor = '';
      halt();
      interrupted = [];
      tell('connecting', 'no_channels');
      return;
    }
    const attempt: Attempt = {
      channels,
      abort: new AbortController(),
      refreshed: refresh,
      asked: false,
      openedAt: Number.NaN,
      joined: [],
      plain: [],
    };
    pending = attempt;
    if (!active) {
      const first = view.state.status === 'connecting' && !failures;
      tell(first ? 'connecting' : away(), reason, { error: view.state.error });
      if (attempt !== pending) return; // a listener has closed it, or begun anew
    }
    limit(attempt, openTimeout + (transport === 'poll' ? POLL : 0));
    run(attempt).catch((error) =>
      fail(
        attempt,
        error instanceof GatewayError ? error : new TransportError('protocol', String(error), { cause: error }),
      ),
    );
  }

  /** Ends an attempt that was not answered within so many ms. */
  function limit(attempt: Attempt, ms: number): void {
    clearTimeout(openTimer);
    const late = (): void => fail(attempt, new TransportError('timeout', `no answer within ${ms} ms`));
    openTimer = setTimeout(late, Math.min(ms, LONGEST));
  }

  async function run(attempt: Attempt): Promise<never> {
    const { signal } = attempt.abort;
    let bearer: string | undefined;
    try {
      bearer = typeof token === 'function' ? await token({ refresh: attempt.refreshed, signal }) : token;
    } catch (cause) {
      throw new TransportError('token', 'no token', { cause });
    }
    const open = await load(transport);
    signal.throwIfAborted();
    if (active && transport === 'poll') {
      // An answer has its cursor with it, so there is nothing to overlap. One that a handler had come here is
      // delivered to its end by now.
      drop(active);
      active = undefined;
    }
    attempt.asked = true;
    if (active) {
      doubles = new Set();
      limit(attempt, HOLD);
    }
    return open(
      {
        ...options,
        url: endpoint(typeof url === 'function' ? url() : url),
        channels: attempt.channels,
        cursor,
        token: bearer,
        credentials: options.credentials ?? (token === undefined ? 'include' : 'same-origin'),
        fetch: request,
        signal,
        types: surface.types,
        onType: (call) => {
          listen = call;
        },
      },
      sinkOf(attempt),
    );
  }

  function sinkOf(attempt: Attempt): Sink {
    const gone = (): boolean => attempt.abort.signal.aborted;
    return {
      heard() {
        if (attempt === active) lastHeard = Date.now();
      },
      retry(ms) {
        if (!gone()) serverRetry = ms;
      },
      event(type, data, id) {
        if (gone()) return;
        if (type === 'gateway.open') return opened(attempt, data as OpenInfo, id);
        if (type === 'gateway.close') return closed(attempt, data as Notice);
        const { channel } = data as Notice;
        if (attempt !== active || !pending?.asked) deliver(attempt, type, data, id);
        else if (attempt.plain.includes(channel)) {
          // Whatever becomes of the new stream, it does not have this one again for certain. The
          // id stays out of the cursor, as it counts what is held.
          deliver(attempt, type, data, '');
          doubles.add(keyOf(data));
        } else held.push(() => deliver(attempt, type, data, id));
      },
    };
  }

  function opened(attempt: Attempt, data: OpenInfo, id: string): void {
    const starts = Object.entries(data.channels ?? {});
    attempt.joined = starts.map(([name]) => name);
    attempt.plain = starts.filter(([, start]) => start === null).map(([name]) => name);
    attempt.openedAt = lastHeard = Date.now();
    clearTimeout(openTimer);
    if (active) drop(active);
    active = attempt;
    pending = undefined;
    held = []; // it all comes again: the new stream continues before it
    if (id) moved(id);
    refresh = false;
    mute = 0;
    heartbeat = data.heartbeat || HEARTBEAT;
    watch();
    clearTimeout(pollTimer);
    if (transport !== preferred) {
      pollTimer = setTimeout(() => {
        fresh();
        begin('');
      }, POLLING);
    }
    const gaps = interrupted.filter((name) => attempt.plain.includes(name));
    interrupted = [];
    tell('live', '', { attempt: 0, open: data });
    if (over) return;
    for (const channel of gaps) surface.gap({ channel, reason: 'no_history', from: '', to: '' });
    changed(); // what was wanted meanwhile
  }

  function deliver(attempt: Attempt, type: string, data: unknown, id: string): void {
    if (over) return; // by a handler of what was held before it
    if (id) moved(id);
    const { channel, reason } = data as Notice;
    const unwanted = attempt.channels.includes(channel) && !view.channels.includes(channel);
    if (unwanted || refused.has(channel)) return;
    if (type === 'gateway.gap') surface.gap(data as Gap);
    else if (type === 'gateway.error') {
      // It is off the stream, and nothing has to be opened anew for that.
      const others = (name: string): boolean => name !== channel;
      attempt.channels = attempt.channels.filter(others);
      attempt.joined = attempt.joined.filter(others);
      lose(new ApplicationError('channel_lost', `channel ${channel} is lost: ${reason}`, { channel, reason }));
    } else if (!type.startsWith('gateway.') && !(doubles.size && doubles.delete(keyOf(data)))) {
      surface.event(data as AnyEvent<UntypedEvents>);
    }
  }

  /** A channel is refused; the others go on without it. */
  function lose(error: ApplicationError): void {
    refused.add(error.channel as string);
    surface.error(error);
    if (wanted().length > 0 || autoSubscribe) changed();
    else finish(error.code, error);
  }

  /** All is refused: asking again would not change it. */
  function refuse(error: ApplicationError): void {
    surface.error(error);
    finish(error.reason ?? error.code, error);
  }

  function closed(attempt: Attempt, { reason, reconnect, retry }: Notice): void {
    if (!reconnect) {
      refuse(new ApplicationError('revoked', `ended by the gateway: ${reason}`, { reason }));
      return;
    }
    const expired = reason === 'token_expired' && typeof token === 'function';
    if (expired) refresh = true;
    const alone = leave(attempt);
    // Not for ever: the gateway's leeway may let in the same token again.
    const wait = expired && failures < 2 ? 0 : retry;
    if (alone) later(reason, wait, null);
    else if (active) change(wait); // the replacement is tried again
  }

  function fail(attempt: Attempt, error: GatewayError): void {
    if (attempt.abort.signal.aborted) return;
    if (error.code === 'unauthorized' && typeof token === 'function' && !attempt.refreshed) {
      leave(attempt, false);
      refresh = true;
      begin(error.code);
      return;
    }
    if (auto && !active) {
      if (transport === 'poll') {
        // That it fails says that it is not the streaming.
        transport = preferred;
        mute = 0;
      } else if (attempt.asked && error.code === 'timeout' && ++mute >= MUTE) transport = 'poll';
    }
    const alone = leave(attempt);
    if (error instanceof ApplicationError) {
      if (attempt.channels.includes(error.channel as string)) lose(error);
      else if (alone) refuse(error);
      else surface.error(error);
      return;
    }
    surface.error(error);
    if (pending) return; // by a handler of that
    if (active) change(backoff());
    else later(error.code, error.code === 'silent' ? 0 : error.retryAfter, error);
  }

  /** Ends an attempt. Tells whether there is no other, so that somebody has to make one. */
  function leave(attempt: Attempt, failed = true): boolean {
    drop(attempt);
    if (Date.now() - attempt.openedAt > STEADY) failures = 0;
    else if (failed) failures++;
    if (attempt === pending) {
      pending = undefined;
      doubles.clear();
      for (const take of held.splice(0)) take();
    } else if (attempt === active) {
      active = undefined;
      held = []; // whichever stream comes next continues before it
      interrupted = attempt.plain;
      if (pending) tell(away(), 'ended');
    }
    return !active && !pending;
  }

  function drop(attempt: Attempt): void {
    attempt.abort.abort();
    if (attempt === pending) clearTimeout(openTimer);
  }

  function later(reason: string, wait: number | undefined, error: GatewayError | null): void {
    if (over) return;
    if (failures >= maxAttempts) {
      refuse(new ApplicationError('attempts', `${failures} attempts failed: ${reason}`, { cause: error }));
      return;
    }
    const told = wait ?? (failures ? undefined : serverRetry);
    const delay = Math.min(told ?? backoff(), LONGEST);
    retryTimer = setTimeout(() => begin(reason), delay);
    tell(away(), reason, { retryAt: Date.now() + delay, error });
  }

  /** Full jitter: anything up to what doubles with every failure, in ms. */
  function backoff(): number {
    return Math.random() * Math.min(maxDelay, (minDelay * 2 ** failures) / 2);
  }

  /** Ends a stream from which nothing came for too long. */
  function watch(): void {
    clearTimeout(watchTimer);
    if (!active) return;
    lastHeard = Math.min(lastHeard, Date.now()); // the clock may have been set back
    const limit = heartbeat * SILENCE;
    const left = lastHeard + limit - Date.now();
    if (left > 0) watchTimer = setTimeout(watch, left);
    else fail(active, new TransportError('silent', `nothing came for ${limit} ms`));
  }

  function tell(status: Status, reason: string, more: Partial<ConnectionState> = {}): void {
    surface.state({ ...REST, status, reason, attempt: failures, ...more });
  }

  function moved(id: string): void {
    cursor = id;
    store?.set(id);
  }

  /** Ends everything that is under way. */
  function halt(): void {
    interrupted = active?.plain ?? interrupted;
    if (pending) drop(pending);
    if (active) drop(active);
    pending = active = undefined;
    held = [];
    for (const timer of [retryTimer, watchTimer, pollTimer, changeTimer]) clearTimeout(timer);
    retryTimer = changeTimer = undefined;
  }

  /** The end; by a refusal it may begin again. */
  function finish(reason: string, error: GatewayError | null): void {
    if (over) return;
    over = !error;
    halt();
    tell('closed', reason, { error });
    surface.end(error);
  }

  function close(): void {
    listening.abort();
    finish('close', null);
  }

  /** Makes an attempt at once, where one is waited for. */
  function hurry(): boolean {
    if (retryTimer === undefined) return false;
    fresh();
    begin(view.state.reason);
    return true;
  }

  watchPage(
    {
      // The stream may hang on a network that is gone.
      online: () => hurry() || ((active || pending) && begin('network')),
      offline: () => {
        // No proof that a gateway on this machine or in this house is away: try, and see.
        if (active && leave(active, false)) begin('network');
      },
      awake: () => hurry() || (active && lastHeard + heartbeat < Date.now() && begin('')),
      show: () => {
        if (active || pending) {
          halt();
          begin('network');
        } else hurry();
      },
    },
    listening.signal,
  );

  options.signal?.addEventListener('abort', close, listening);
  if (options.signal?.aborted) close();
  else change(0);
  return view as unknown as Connection<Events>;
}

function away(): Status {
  return isOffline() ? 'offline' : 'reconnecting';
}

/** What makes two deliveries of an event without a position the same. */
function keyOf(data: unknown): string {
  const { channel, event_id, timestamp } = data as AnyEvent<UntypedEvents>;
  return [channel, event_id, timestamp].join('\n');
}
