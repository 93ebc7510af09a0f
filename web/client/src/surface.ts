import { ApplicationError, type GatewayError } from './errors.js';
import { createListeners, type Listeners } from './listeners.js';
import type {
  AnyEvent,
  Channel,
  Connection,
  ConnectionState,
  Gap,
  Handler,
  Source,
  Unsubscribe,
  UntypedEvents,
} from './types.js';

type Event = AnyEvent<UntypedEvents>;

/** What stands behind a {@link Surface}. */
export interface Backend {
  cursor(): string;
  /** The wanted channels are others, or this one was asked for anew. */
  changed(added?: string): void;
  /** A type has its first handler. */
  listened(type: string): void;
  reconnect(): void;
  close(): void;
}

/** The side of a connection that the application sees, and what its owner tells it. */
export interface Surface {
  readonly connection: Connection<UntypedEvents>;
  /** All types that ever had a handler. */
  readonly types: ReadonlySet<string>;
  event(event: Event): void;
  gap(gap: Gap): void;
  error(error: GatewayError): void;
  state(change: Partial<ConnectionState>): void;
  /** Ends all loops, with the error if there is one. */
  end(error: GatewayError | null): void;
}

interface Feed {
  source: Source<UntypedEvents>;
  event(event: Event): void;
  gap: Listeners<Gap>;
  ends: Listeners<GatewayError | null>;
}

/** What a state says unless it says otherwise. */
export const REST = { attempt: 0, retryAt: null, error: null, open: null };

/** Makes the side of a connection that is the same whoever holds the stream. */
export function createSurface(fixed: readonly string[], buffer: number, backend: Backend): Surface {
  const types = new Set<string>();
  const channels = new Map<string, { feed: Feed; held: number }>();
  const states = createListeners<ConnectionState>();
  const errors = createListeners<GatewayError>();
  let wanted: readonly string[] = [...new Set(fixed)].sort();
  let state: ConnectionState = { ...REST, status: 'connecting', reason: '' };

  const wants = (added?: string): void => {
    const now = [...new Set([...fixed, ...channels.keys()])].sort();
    if (now.join() !== wanted.join()) wanted = now;
    backend.changed(added);
  };

  const createFeed = (hold: () => Unsubscribe): Feed => {
    const handlers = new Map<string, Listeners<Event>>();
    const held = (end: Unsubscribe): Unsubscribe => {
      let release: Unsubscribe | undefined = hold();
      return () => {
        end();
        release?.();
        release = undefined;
      };
    };
    const on = (type: string, handler: Handler<Event>): Unsubscribe => {
      let listeners = handlers.get(type);
      if (!listeners) {
        listeners = createListeners();
        handlers.set(type, listeners);
        if (!types.has(type)) {
          types.add(type);
          backend.listened(type);
        }
      }
      return held(listeners.add(handler));
    };
    const feed: Feed = {
      gap: createListeners(),
      ends: createListeners(),
      event(event) {
        if (event.type !== '*') handlers.get(event.type)?.emit(event);
        handlers.get('*')?.emit(event);
      },
      source: {
        on: on as Source<UntypedEvents>['on'],
        onGap: (handler) => held(feed.gap.add(handler)),
        [Symbol.asyncIterator]: () => iterate(feed, buffer, state),
      },
    };
    return feed;
  };

  const root = createFeed(() => () => {});

  const hold = (name: string): Unsubscribe => {
    const entry = channels.get(name);
    if (entry && entry.held++ === 0) wants(name);
    return () => {
      if (!entry || --entry.held > 0) return;
      channels.delete(name);
      wants();
    };
  };

  const channel = (name: string): Channel<UntypedEvents> => {
    checkName(name);
    const feed = (): Feed => {
      let entry = channels.get(name);
      if (!entry) {
        entry = { held: 0, feed: createFeed(() => hold(name)) };
        channels.set(name, entry);
      }
      return entry.feed;
    };
    // The feed may be another one when a handler comes back.
    const via =
      (method: keyof Source<UntypedEvents>) =>
      (...args: never[]): never =>
        (feed().source[method] as (...args: never[]) => never)(...args);
    return {
      name,
      get open() {
        return Object.hasOwn(state.open?.channels ?? {}, name);
      },
      on: via('on'),
      onGap: via('onGap'),
      subscribe: () => feed().source.onGap(() => {}),
      [Symbol.asyncIterator]: via(Symbol.asyncIterator),
    };
  };

  return {
    types,
    event(event) {
      root.event(event);
      channels.get(event.channel)?.feed.event(event);
    },
    gap(gap) {
      root.gap.emit(gap);
      channels.get(gap.channel)?.feed.gap.emit(gap);
    },
    error: errors.emit,
    state(change) {
      const before = state;
      const after = { ...before, ...change };
      if ((Object.keys(after) as (keyof ConnectionState)[]).every((key) => after[key] === before[key])) return;
      state = after;
      states.emit(after);
    },
    end(error) {
      for (const { ends } of [root, ...[...channels.values()].map((entry) => entry.feed)]) ends.emit(error);
    },
    connection: {
      ...root.source,
      get state() {
        return state;
      },
      get channels() {
        return wanted;
      },
      get cursor() {
        return backend.cursor();
      },
      // A listener may have changed it again: those after it hear how it is, and not how it was.
      onState: (listener) => states.add(() => listener(state)),
      onError: errors.add,
      channel: channel as Connection<UntypedEvents>['channel'],
      reconnect: backend.reconnect,
      close: backend.close,
    },
  };
}

// Section "Channels" of the gateway's README.
const NAME = /^(?!.{256})[\w.~@/+=-]+(:[\w.~@/+=-]+)*$/;

/** @throws TypeError where no channel can have this name: one bad name would have the whole connection refused */
export function checkName(name: string): void {
  if (!NAME.test(name)) {
    throw new TypeError(
      `${JSON.stringify(name)} is no channel: allowed are 1 to 255 of A-Za-z0-9._~@/+=- in segments parted by ":"`,
    );
  }
}

const DONE = { done: true, value: undefined } as const;

function iterate(feed: Feed, buffer: number, { status, error }: ConnectionState): AsyncIterableIterator<Event> {
  const queue: Event[] = [];
  const readers: { resolve: (result: IteratorResult<Event>) => void; reject: (error: unknown) => void }[] = [];
  let over = false;
  let failure: GatewayError | null = null;
  const end = (error: GatewayError | null): void => {
    if (over) return;
    over = true;
    off();
    offEnd();
    failure = error;
    for (const reader of readers.splice(0)) {
      if (failure) reader.reject(failure);
      else reader.resolve(DONE);
      failure = null; // is told once
    }
  };
  const off = feed.source.on('*', (event) => {
    const reader = readers.shift();
    if (reader) reader.resolve({ done: false, value: event });
    else if (queue.length < buffer) queue.push(event);
    else end(new ApplicationError('overflow', `more than ${buffer} events wait for this loop`));
  });
  const offEnd = feed.ends.add(end);
  if (status === 'closed' && !error) end(null); // for good
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      const event = queue.shift();
      if (event) return { done: false, value: event };
      const error = failure;
      failure = null;
      if (error) throw error;
      if (over) return DONE;
      return new Promise((resolve, reject) => readers.push({ resolve, reject }));
    },
    async return() {
      queue.length = 0;
      end(null);
      return DONE;
    },
  };
}
