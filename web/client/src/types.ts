import type { GatewayError } from './errors.js';

/**
 * Which types of events there are, and what each has as `data`. Write it as an
 * interface; a type whose fields lie beside `type`, as in
 * `{"type":"post","action":"update","id":"abc"}`, is named with {@link Fields}.
 *
 * ```ts
 * interface Events {
 *   task_created: { id: number; title: string };
 *   post: Fields<{ action: 'create' | 'update' | 'delete'; id: string | null }>;
 * }
 * ```
 *
 * These are promises of the publisher. The client does not check them.
 */
export type EventMap<Events> = { [Type in keyof Events]: unknown };

declare const fields: unique symbol;

/** Marks the fields of an event that has them beside `type`, and not in `data`; see {@link EventMap}. */
export type Fields<Shape extends object> = { readonly [fields]: Shape };

/** What every event has. */
export interface Envelope<Type extends string = string> {
  /** The channel that it came on. */
  readonly channel: string;
  /** The publisher's id where it gave one, else the position. The same event has the same id on every connection. */
  readonly event_id: string;
  readonly type: Type;
  /** RFC 3339, in UTC unless the publisher wrote its own. */
  readonly timestamp: string;
}

/** An event of one type, as the gateway delivered it. */
export type EventOf<Events, Type extends keyof Events> = Type extends string
  ? Envelope<Type> & (Events[Type] extends Fields<infer Shape> ? Readonly<Shape> : { readonly data: Events[Type] })
  : never;

/** An event of any of the types; a union told apart by `type`. */
export type AnyEvent<Events> = { [Type in keyof Events]: EventOf<Events, Type> }[keyof Events];

/** The types of events where the application names none: any, with unknown data. */
export type UntypedEvents = Record<string, unknown>;

/**
 * Is called with each event. What it throws is reported as an uncaught error
 * and disturbs nobody else; what it returns is ignored, so a promise is not awaited.
 */
export type Handler<Event> = (event: Event) => void;

/** Ends what returned it. May be called twice. */
export type Unsubscribe = () => void;

/**
 * Events of a channel that cannot be delivered any more. What the application
 * knows of the channel is out of date: fetch its state again.
 */
export interface Gap {
  readonly channel: string;
  /**
   * `trimmed`, `expired`: no longer in the history. `lost`: by Redis. `dropped`: this
   * connection was too slow. `cursor`: the cursor is of another version.
   * `no_history`: the channel has none, and the connection was interrupted (this one the
   * client says, and not the gateway). Others may follow.
   */
  readonly reason: 'trimmed' | 'expired' | 'lost' | 'dropped' | 'cursor' | 'no_history' | (string & {});
  /** Position after which events are missing; empty with `no_history`. */
  readonly from: string;
  /** Position of the last that is missing; empty with `no_history`. */
  readonly to: string;
  /** How many, where that is known. */
  readonly count?: number;
}

/**
 * - `connecting`: the first attempt, or nothing to connect to yet (reason `no_channels`).
 * - `live`: events come as they are published.
 * - `reconnecting`: it was live, or tried, and tries again.
 * - `offline`: the same, and the browser says that there is no network.
 * - `closed`: it has ended, by `close()`, or by a refusal that asking again would not change.
 */
export type Status = 'connecting' | 'live' | 'reconnecting' | 'offline' | 'closed';

/** What `gateway.open` says. A poll knows neither names nor positions. */
export interface OpenInfo {
  /** The gateway's name of this connection, as in its log. */
  readonly connection?: string;
  readonly replica?: string;
  /** The channels of the stream, with the position that each starts after; null without history. */
  readonly channels?: Readonly<Record<string, string | null>>;
  /** How long in ms the stream may be silent. */
  readonly heartbeat: number;
}

/** How the connection is. The object does not change; a change makes another one. */
export interface ConnectionState {
  readonly status: Status;
  /**
   * Why, in one word: empty when live, else the reason of a `gateway.close` (`draining`, `full`, …), the code
   * of `error`, `no_channels`, or who asked for it: `network`, `reconnect`, `close`.
   */
  readonly reason: string;
  /** Attempts that failed since it was live last. */
  readonly attempt: number;
  /** When the next attempt starts, in ms since the epoch; null where none waits. */
  readonly retryAt: number | null;
  /** What went wrong, if anything did. */
  readonly error: GatewayError | null;
  /** What the gateway says of the stream, while it is live; null otherwise. */
  readonly open: OpenInfo | null;
}

/** The events of one channel, or of a connection's all. */
export interface Source<Events> extends AsyncIterable<AnyEvent<Events>> {
  /**
   * Calls the handler with every event of the type; `*` means every type.
   * @returns a function that ends it
   */
  on<Type extends keyof Events & string>(type: Type, handler: Handler<EventOf<Events, Type>>): Unsubscribe;
  on(type: '*', handler: Handler<AnyEvent<Events>>): Unsubscribe;

  /** Calls the handler with every gap: the moment to fetch the state again. */
  onGap(handler: Handler<Gap>): Unsubscribe;

  /**
   * `for await (const event of …)`. Events that were not taken yet wait, at most
   * `iteratorBuffer` of them; one more, and the loop throws a {@link GatewayError} with the code
   * `overflow`. The loop ends when the connection is closed, and throws where that was a refusal.
   * Gaps do not come here: use `onGap` beside it.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<AnyEvent<Events>>;
}

/** One channel. It needs no closing: it is what its handlers are. */
export interface Channel<Events> extends Source<Events> {
  readonly name: string;
  /**
   * Whether the stream has the channel. When that becomes true, which `onState` tells, is the moment to read the
   * channel's state for the first time: nothing that is published afterwards is missed.
   */
  readonly open: boolean;
  /**
   * Keeps the channel subscribed, also while it has no handler.
   * @returns a function that ends it
   */
  subscribe(): Unsubscribe;
}

/**
 * A connection and what comes over it. All methods may be called unbound, so
 * `useSyncExternalStore(connection.onState, () => connection.state)` works.
 */
export interface Connection<Events> extends Source<Events> {
  /** How it is now: the same object until something changes. */
  readonly state: ConnectionState;

  /** The channels that are wanted, sorted: the same array until they change. Those that the gateway adds by itself are not among them. */
  readonly channels: readonly string[];

  /** The id of the last event that was delivered, also to who is handling it now: where `connect`'s `cursor` continues. Empty before the first. */
  readonly cursor: string;

  /** Calls the listener after every change of `state`. */
  onState(listener: (state: ConnectionState) => void): Unsubscribe;

  /**
   * Calls the handler with every error. `kind` tells those of the way (`transport`: the
   * connection tries again by itself) from those of the application (`application`: a channel was
   * refused or lost, or everything was). An error nobody listens to is silent.
   */
  onError(handler: Handler<GatewayError>): Unsubscribe;

  /**
   * One channel. Its first handler (or `subscribe`) adds it to the connection, and it leaves with the
   * last; those given to `connect` stay. Changes of one moment make one new request, at which the other
   * channels miss nothing.
   * `connection.channel<Tasks>('project:42:tasks')` types the events of this channel by themselves.
   */
  channel<ChannelEvents extends EventMap<ChannelEvents> = Events>(name: string): Channel<ChannelEvents>;

  /**
   * Connects at once: a "try now" button, or after signing in, when it was closed by
   * a refusal. Does nothing after `close()`.
   */
  reconnect(): void;

  /** Ends it for good. May be called twice. */
  close(): void;
}

/** Why a token is asked for. */
export interface TokenRequest {
  /** True where the last one was refused or has expired: one from a cache would not do. */
  readonly refresh: boolean;
  /** Ends with the attempt. */
  readonly signal: AbortSignal;
}

/** How events come. */
export type Transport = 'fetch' | 'eventsource' | 'poll';

/** Keeps one cursor. */
export interface CursorStore {
  /** What was kept; nothing, and the connection starts at the present. */
  get(): string | null | undefined;
  /** Is called with the cursor of every event. */
  set(cursor: string): void;
}

/** What `connect` takes. */
export interface ConnectOptions {
  /** The channels from the beginning to the end; others come and go with `connection.channel(name)`. */
  channels?: readonly string[];

  /**
   * Connects also while no channel is wanted, to a gateway that joins some by itself (`autoSubscribe`).
   * @defaultValue false
   */
  autoSubscribe?: boolean;

  /**
   * The token, or a function that is asked before every attempt. A token that was refused
   * or has expired is asked for once more before the connection gives up. What the function
   * throws counts as an attempt that failed. Without it, cookies are sent.
   */
  token?: string | ((request: TokenRequest) => string | Promise<string>);

  /**
   * The cursor to start after: of a history answer, or of an earlier connection. Read state
   * first, start there, and nothing falls between.
   */
  cursor?: string;

  /** How many past events a first connection gets at most; policies may allow fewer. */
  lastN?: number;

  /** How old they may be, as `30s`, `10m`, or seconds. */
  maxAge?: number | string;

  /**
   * `auto`: fetch; EventSource where streams cannot be read by fetch; poll where streams open and
   * stay mute, as behind a proxy that holds them back. EventSource cannot send headers: with it the token is in
   * the URL, unless it is a cookie.
   * @defaultValue 'auto'
   */
  transport?: 'auto' | Transport;

  /** Headers of every request by fetch. From another origin, the gateway allows no others than its own. */
  headers?: Record<string, string>;

  /**
   * Cookies, as fetch takes it.
   * @defaultValue 'include' without a token, 'same-origin' with one
   */
  credentials?: 'include' | 'same-origin' | 'omit';

  /** Closes the connection. */
  signal?: AbortSignal;

  /**
   * How many attempts in a row may fail before it is closed.
   * @defaultValue Infinity
   */
  maxAttempts?: number;

  /**
   * After the n-th failure in a row the next attempt waits a random time up to `minDelay * 2^(n-1)` ms, and up to
   * `maxDelay`. Where the gateway says when to come back, that counts.
   * @defaultValue 500
   */
  minDelay?: number;

  /** @defaultValue 30000 */
  maxDelay?: number;

  /**
   * How long in ms an attempt may take until the gateway has answered.
   * @defaultValue 10000
   */
  openTimeout?: number;

  /** @defaultValue 1000 */
  iteratorBuffer?: number;

  /** Where the cursor is kept across reloads of the page: `cursorStore` of `@realtime-gateway/client/storage`, or your own. */
  store?: CursorStore;

  /** @defaultValue globalThis.fetch */
  fetch?: typeof globalThis.fetch;
}
