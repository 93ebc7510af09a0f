import { type Attachable, createAttach } from './attach.js';
import { createListeners } from './listeners.js';
import type { AnyEvent, EventMap, Unsubscribe, UntypedEvents } from './types.js';

export type { Attachable } from './attach.js';

/** A change that is shown before the server knows of it. */
export interface Change<State> {
  /**
   * Makes the changed state of another, without changing that one. Is called anew whenever the state below it
   * changes, so it takes a state as it finds it: an item may be gone, or may have the change already. What it throws
   * rolls the change back.
   */
  apply(state: State): State;
  /**
   * Asks the server for it. The server publishes its event with this id (`EVENTID`, or `event_id`). A promise that is
   * rejected rolls the change back.
   * @param signal ends when its answer is not awaited any more
   */
  send(eventId: string, signal: AbortSignal): Promise<unknown>;
}

/**
 * - `sending`: neither the answer nor the event has come.
 * - `accepted`: the server has answered, and the event has not come.
 * - `unknown`: nothing came within `timeout`, and the state is being fetched.
 */
export type ChangeStatus = 'sending' | 'accepted' | 'unknown';

/** A change that is shown and not yet part of the confirmed state. */
export interface PendingChange {
  readonly id: string;
  readonly status: ChangeStatus;
}

/** What to show. The object does not change; a change makes another one. */
export interface OptimisticSnapshot<State> {
  /** The confirmed state with all pending changes on it. */
  readonly state: State;
  /** In the order in which they were made. */
  readonly pending: readonly PendingChange[];
  /**
   * Whether the state is to be fetched: at first, where there is `fetch`; after a gap; when the channel has come onto
   * the stream, as what was fetched before may be older than the first event; and where `onTimeout` says so.
   */
  readonly stale: boolean;
  /** What the last fetch failed with; undefined otherwise. It is tried again. */
  readonly error: unknown;
}

/** A loading of the state; see {@link OptimisticStore.load}. */
export interface Load<State> {
  /** Takes the state that was loaded. */
  done(state: State): void;
  /** There is nothing to take: it failed, for example. */
  drop(): void;
}

/** What `createOptimistic` makes. All methods may be called unbound. */
export interface OptimisticStore<State, Events = UntypedEvents> extends Attachable<Events> {
  /** What to show: the same object until something changes. */
  getSnapshot(): OptimisticSnapshot<State>;

  /** Calls the listener after every change of the snapshot. */
  subscribe(listener: (snapshot: OptimisticSnapshot<State>) => void): Unsubscribe;

  /**
   * Shows a change at once and sends it.
   * @returns a promise that is resolved when the change is confirmed, by the answer or by the event, whichever comes
   *   first; it is rejected, with what `send` or `apply` threw or an {@link OptimisticTimeoutError}, when it is not
   */
  run(change: Change<State>): Promise<void>;

  /**
   * Fetches the state by the option `fetch`, and once more where that is under way. Does nothing without it.
   * @returns a promise that is resolved when it has been fetched, and rejected with what `fetch` threw
   */
  refetch(): Promise<void>;

  /**
   * For a state that the application fetches by itself: call this before the request, and `done` with the answer. What
   * happened between the two is put on top of it. The newest counts; one during which more than 10 000 events came
   * does not, and the state stays stale.
   */
  load(): Load<State>;
}

/** What `createOptimistic` takes. */
export interface OptimisticOptions<State, Events> {
  /** The state until one is fetched. */
  initial: State;

  /**
   * Makes the state after an event of the one before, without changing that one. An event may already be part
   * of a state that was fetched: put and remove items by their id rather than count or append. Without it, events
   * only confirm, and the changes stay on top until a state is loaded.
   */
  reduce?(state: State, event: AnyEvent<Events>): State;

  /**
   * Fetches the state: when the first channel is attached, when `stale` says so, and after a timeout. What it throws
   * has it called again after about `timeout`, as long as a channel is attached or a change pending.
   */
  fetch?(): Promise<State>;

  /**
   * How long in ms a change may be without its event.
   * @defaultValue 10000
   */
  timeout?: number;

  /**
   * What to do with a change of which nothing was heard within `timeout`: `rollback`, or `refetch` and show what the
   * server has. One that was accepted is never rolled back.
   * @defaultValue 'refetch' with `fetch`, 'rollback' without
   */
  onTimeout?: 'refetch' | 'rollback';

  /**
   * Makes the ids of events. The gateway takes 1 to 255 bytes without control characters.
   * @defaultValue 128 random bits
   */
  eventId?: () => string;
}

/** Neither the answer to a change nor its event came in time. Whether the server has made it is not known. */
export class OptimisticTimeoutError extends Error {
  override readonly name = 'OptimisticTimeoutError';
}

/** In ms, twelve days: timers of more than twice that fire at once. */
const LONGEST = 2 ** 30;

/** How many events wait at most for a state that is being loaded. */
const BUFFER = 10_000;

interface Entry<State> {
  readonly id: string;
  readonly change: Change<State>;
  readonly abort: AbortController;
  status: ChangeStatus;
  timer: ReturnType<typeof setTimeout> | undefined;
  resolve(): void;
  reject(error: unknown): void;
}

/**
 * Makes a store of a state that shows changes before they are confirmed. It keeps the confirmed state and the pending
 * changes apart, and applies these anew whenever that one changes; so a change that fails goes without a trace,
 * whatever else happened meanwhile, and one whose event comes is there once.
 */
export function createOptimistic<State, Events extends EventMap<Events> = UntypedEvents>(
  options: OptimisticOptions<State, Events>,
): OptimisticStore<State, Events> {
  const fetch = options.fetch?.bind(options);
  const store: OptimisticStore<State, Events> = createStore(
    options,
    fetch && {
      stale: true,
      async refresh() {
        const load = store.load();
        try {
          load.done(await fetch());
        } finally {
          load.drop();
        }
      },
    },
  );
  return store;
}

/**
 * Where the state of a store comes from.
 * @internal
 */
export interface Origin {
  /** Whether there is none yet. */
  stale: boolean;
  /** Loads it. */
  refresh(): Promise<void>;
  /** A channel is attached. */
  started?(): void;
  /** None is any more. */
  ended?(): void;
}

/** @internal */
export function createStore<State, Events extends EventMap<Events>>(
  options: Omit<OptimisticOptions<State, Events>, 'fetch'>,
  { stale = false, refresh, started, ended }: Partial<Origin> = {},
): OptimisticStore<State, Events> {
  const { eventId = randomId } = options;
  const timeout = Math.min(options.timeout ?? 10_000, LONGEST);
  const { onTimeout = refresh ? 'refetch' : 'rollback' } = options;
  const reduce = options.reduce?.bind(options);
  const listeners = createListeners<OptimisticSnapshot<State>>();
  const entries: Entry<State>[] = [];
  let confirmed = options.initial;
  let error: unknown;
  let snapshot: OptimisticSnapshot<State> = { state: confirmed, pending: [], stale, error };

  let attached = false;
  let misses = 0;
  let loading: AnyEvent<Events>[] | undefined; // the events since the newest load began
  let fetching: Promise<void> | undefined;
  let asked = false;
  let retry: ReturnType<typeof setTimeout> | undefined;

  function show(): void {
    let state = confirmed;
    for (const entry of [...entries]) {
      try {
        state = entry.change.apply(state);
      } catch (conflict) {
        rollback(entry, conflict);
      }
    }
    snapshot = { state, pending: entries.map(({ id, status }) => ({ id, status })), stale, error };
    listeners.emit(snapshot);
  }

  /** Whether it was still pending. */
  function remove(entry: Entry<State>): boolean {
    const at = entries.indexOf(entry);
    if (at < 0) return false;
    entries.splice(at, 1);
    clearTimeout(entry.timer);
    return true;
  }

  function rollback(entry: Entry<State>, reason: unknown): boolean {
    if (!remove(entry)) return false;
    entry.abort.abort(reason);
    entry.reject(reason);
    return true;
  }

  function accept(entry: Entry<State>): void {
    if (!entries.includes(entry) || entry.status === 'accepted') return;
    entry.status = 'accepted';
    entry.resolve();
    show();
  }

  function expire(entry: Entry<State>): void {
    if (entry.status === 'sending') {
      const late = new OptimisticTimeoutError(`neither an answer nor the event ${entry.id} came within ${timeout} ms`);
      if (onTimeout === 'rollback') rollback(entry, late);
      else {
        entry.status = 'unknown';
        entry.abort.abort(late);
        entry.reject(late);
      }
    } else if (onTimeout === 'rollback') {
      // The server has made it: without its event, the answer has to do.
      remove(entry);
      confirmed = entry.change.apply(confirmed);
    }
    if (onTimeout === 'refetch') missed();
    else show();
  }

  function run(change: Change<State>): Promise<void> {
    return new Promise((resolve, reject) => {
      const abort = new AbortController();
      const entry: Entry<State> = {
        id: eventId(),
        change,
        abort,
        status: 'sending',
        timer: undefined,
        resolve,
        reject,
      };
      entries.push(entry);
      show();
      if (!entries.includes(entry)) return;
      entry.timer = setTimeout(expire, timeout, entry);
      const send = async () => change.send(entry.id, abort.signal);
      send().then(
        () => accept(entry),
        (reason) => {
          // One that was accepted is no longer the sender's, and of one that timed out the fetched state decides.
          if (entry.status === 'sending' && rollback(entry, reason)) show();
        },
      );
    });
  }

  function event(event: AnyEvent<Events>): void {
    const own = entries.find((entry) => entry.id === (event as AnyEvent<UntypedEvents>).event_id);
    if (!reduce) {
      if (own) accept(own);
      return;
    }
    if (loading && loading.push(event) > BUFFER) {
      // The answer is not to be used when it comes: another is.
      loading = undefined;
      missed();
    }
    const before = confirmed;
    try {
      confirmed = reduce(confirmed, event);
    } catch (failure) {
      missed();
      throw failure;
    }
    if (own) {
      remove(own);
      own.resolve();
    }
    if (own || confirmed !== before) show();
  }

  function load(): Load<State> {
    // What the server has accepted by now, or may have, the answer says.
    const told = entries.filter((entry) => entry.status !== 'sending');
    const since: AnyEvent<Events>[] = [];
    const before = misses;
    loading = since;
    return {
      done(state) {
        if (loading !== since) return;
        loading = undefined;
        confirmed = reduce ? since.reduce(reduce, state) : state;
        stale = stale && before !== misses;
        error = undefined;
        told.forEach(remove);
        show();
      },
      drop() {
        if (loading === since) loading = undefined;
      },
    };
  }

  function refetch(): Promise<void> {
    if (!refresh) return Promise.resolve();
    asked = true;
    fetching ??= refreshAll(refresh).finally(() => {
      fetching = undefined;
    });
    return fetching;
  }

  async function refreshAll(refresh: () => Promise<void>): Promise<void> {
    clearTimeout(retry);
    await null; // what is asked for in one moment is fetched once
    while (asked) {
      asked = false;
      try {
        await refresh();
      } catch (failure) {
        error = failure;
        show();
        // At different times for different clients, and for as long as it takes.
        if (attached || entries.length) retry = setTimeout(refetchLater, timeout * (0.5 + Math.random()));
        throw failure;
      }
    }
  }

  /** For those that cannot be told: the snapshot says how it went. */
  function refetchLater(): void {
    refetch().catch(() => {});
  }

  function missed(): void {
    misses++;
    stale = true;
    show();
    refetchLater();
  }

  const attach = createAttach<Events>({
    events: [{ type: '*', take: event }],
    missed,
    started() {
      attached = true;
      started?.();
      if (stale) refetchLater();
    },
    ended() {
      attached = false;
      ended?.();
      if (entries.length === 0) clearTimeout(retry);
    },
  });

  const subscribe = (listener: (snapshot: OptimisticSnapshot<State>) => void): Unsubscribe =>
    // A listener may have changed it again: those after it hear how it is, and not how it was.
    listeners.add(() => listener(snapshot));

  return { getSnapshot: () => snapshot, subscribe, run, refetch, load, attach };
}

/** `crypto.randomUUID` exists on secure pages alone. */
function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
