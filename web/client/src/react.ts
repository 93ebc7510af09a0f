import {
  createContext,
  createElement,
  type ReactElement,
  type ReactNode,
  useContext,
  useEffect,
  useInsertionEffect,
  useRef,
  useState,
  useSyncExternalStore,
} from 'react';
import { type Attachable, endAll } from './attach.js';
import type { OptimisticSnapshot, OptimisticStore } from './optimistic.js';
import type { AnyEvent, Connection, ConnectionState, EventMap, EventOf, Gap, Handler, UntypedEvents } from './types.js';

export type { Attachable } from './attach.js';

/**
 * Where an application names its events once, for all hooks:
 *
 * ```ts
 * declare module '@realtime-gateway/client/react' {
 *   interface Register {
 *     events: Events;
 *   }
 * }
 * ```
 */
// biome-ignore lint/suspicious/noEmptyInterface: applications add to it
export interface Register {}

/** The events of {@link Register}, or any where there are none. */
export type RegisteredEvents = Register extends { events: infer Events extends EventMap<unknown> }
  ? Events
  : UntypedEvents;

/** undefined: no provider. null: not made yet. */
const Context = createContext<Connection<UntypedEvents> | null | undefined>(undefined);

/** What a server renders, and the browser until it has hydrated. */
const INITIAL: ConnectionState = {
  status: 'connecting',
  reason: 'no_channels',
  attempt: 0,
  retryAt: null,
  error: null,
  open: null,
};

/** What `<GatewayProvider>` takes. */
export interface GatewayProviderProps<Events> {
  /**
   * The connection, which stays the application's to close; or a function that makes one. The function is called in the
   * browser alone, after the first rendering, and what it made is closed when the provider is unmounted. A later
   * function is not called: give the provider another `key` for another connection, for example the user's id.
   */
  connection: Connection<Events> | (() => Connection<Events>);
  children?: ReactNode;
}

/** Gives a connection to all hooks below it. */
export function GatewayProvider<Events extends EventMap<Events> = RegisteredEvents>({
  connection,
  children,
}: GatewayProviderProps<Events>): ReactElement {
  const [make] = useState(() => (typeof connection === 'function' ? connection : undefined));
  const [made, setMade] = useState<Connection<Events> | null>(null);
  useEffect(() => {
    if (!make) return;
    const own = make();
    setMade(own);
    return () => {
      setMade(null);
      own.close();
    };
  }, [make]);
  const value = typeof connection === 'function' ? made : connection;
  return createElement(Context.Provider, { value: value as Connection<UntypedEvents> | null }, children);
}

/**
 * The connection of the `<GatewayProvider>` above; null until it is made, as on a server.
 * @throws Error where there is no provider
 */
export function useConnection<Events extends EventMap<Events> = RegisteredEvents>(): Connection<Events> | null {
  const connection = useContext(Context);
  if (connection === undefined) throw new Error('there is no <GatewayProvider> above this component');
  return connection as Connection<Events> | null;
}

/** How the connection is; renders anew with every change. */
export function useConnectionState(): ConnectionState {
  const connection = useConnection<UntypedEvents>();
  return useSyncExternalStore(
    connection?.onState ?? never,
    () => connection?.state ?? INITIAL,
    () => INITIAL,
  );
}

/** The same function at every rendering, so that nothing is subscribed anew. */
const never = () => () => {};

/** What {@link useChannel} calls. */
export interface ChannelListener<Events> {
  /** By type; `*` is called with events of every type, also with those that have their own. */
  events?: { [Type in keyof Events & string]?: Handler<EventOf<Events, Type>> } & { '*'?: Handler<AnyEvent<Events>> };
  /** Events are missing: fetch the state again. */
  onGap?: Handler<Gap>;
}

/**
 * Subscribes to a channel as long as the component is mounted. However many components name the same channel,
 * the connection has it once, and it keeps it for a moment after the last, so that the next page may take it over.
 *
 * Handlers may be other functions at every rendering: the newest are called, and nothing is subscribed anew.
 *
 * @param channel its name; with null or an empty one nothing is subscribed
 * @param listener a handler of all events, or handlers by type, or an object that takes the
 *   events by itself, made once (outside of components, or by `useState(() => …)`)
 */
export function useChannel<Events extends EventMap<Events> = RegisteredEvents>(
  channel: string | null | undefined,
  listener?: NoInfer<Handler<AnyEvent<Events>> | ChannelListener<Events>>,
): void;
export function useChannel<Events>(channel: string | null | undefined, listener: Attachable<Events>): void;
export function useChannel(
  channel: string | null | undefined,
  listener: Handler<AnyEvent<UntypedEvents>> | ChannelListener<UntypedEvents> | Attachable<UntypedEvents> = {},
): void {
  const connection = useConnection<UntypedEvents>();
  const attachable = 'attach' in listener ? listener : null;
  const handlers = (typeof listener === 'function' ? { events: { '*': listener } } : listener) as Handlers;
  const latest = useRef(handlers);
  useInsertionEffect(() => {
    latest.current = handlers;
  });
  // By name, and not by one handler of all: EventSource, where the connection falls back to it, knows no other way.
  const types = Object.keys(handlers.events ?? {}).join('\n');

  useEffect(() => {
    if (!connection || !channel) return;
    if (attachable) return attachable.attach(connection, channel);
    const source = connection.channel(channel);
    const named = types ? types.split('\n') : [];
    return endAll([
      source.onGap((gap) => latest.current.onGap?.(gap)),
      ...named.map((type) => source.on(type, (event) => latest.current.events?.[type]?.(event))),
    ]);
  }, [connection, channel, attachable, types]);
}

/** A {@link ChannelListener}, whatever its events are. */
interface Handlers {
  events?: Record<string, Handler<AnyEvent<UntypedEvents>> | undefined>;
  onGap?: Handler<Gap>;
}

/**
 * The state of a store of `createOptimistic`, with its pending changes, as the events of a channel change it; renders anew with
 * every change.
 *
 * @param channel the channel that brings the events of the state; see {@link useChannel}
 * @param store made once: outside of components, or by `useState(() => createOptimistic(…))`
 */
export function useOptimisticChannel<State, Events>(
  channel: string | null | undefined,
  store: Pick<OptimisticStore<State, Events>, 'attach' | 'getSnapshot' | 'subscribe'>,
): OptimisticSnapshot<State> {
  useChannel(channel, store);
  return useSyncExternalStore(store.subscribe, store.getSnapshot, store.getSnapshot);
}
