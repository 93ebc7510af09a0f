import { type Change, createStore, type Load, type OptimisticOptions, type OptimisticStore } from './optimistic.js';
import type { QueryKey } from './query.js';
import type { AnyEvent, EventMap, UntypedEvents } from './types.js';

export type { Attachable } from './attach.js';

/** What is used of a query's state. */
export interface QueryStateLike {
  readonly data: unknown;
  readonly dataUpdatedAt: number;
  readonly fetchStatus: string;
  readonly isInvalidated: boolean;
}

/** What is used of the `QueryClient` of TanStack Query 5, whichever framework it comes with. */
export interface OptimisticQueryClient {
  getQueryState(queryKey: QueryKey): QueryStateLike | undefined;
  setQueryData(queryKey: QueryKey, data: unknown, options: { updatedAt: number }): unknown;
  invalidateQueries(
    filters: { queryKey: QueryKey; exact: true; refetchType?: 'none' },
    options?: { cancelRefetch: false },
  ): Promise<void>;
  refetchQueries(filters: { queryKey: QueryKey; exact: true }, options: { cancelRefetch: false }): Promise<void>;
  getQueryCache(): {
    subscribe(
      listener: (event: {
        type: string;
        query: { readonly state: QueryStateLike };
        action?: { type: string; manual?: boolean };
      }) => void,
    ): () => void;
  };
}

/** What `optimisticQuery` takes. */
export interface OptimisticQueryOptions<State, Events>
  extends Pick<OptimisticOptions<State, Events>, 'timeout' | 'onTimeout' | 'eventId'> {
  /**
   * Makes the data after an event of the one before; see {@link OptimisticOptions.reduce}. Without it, events only confirm, and
   * something else has to fetch the query after them, such as `invalidationRules` on the same channel.
   */
  reduce?(data: State, event: AnyEvent<Events>): State;
}

/** What `optimisticQuery` makes. All methods may be called unbound. */
export interface OptimisticQuery<State, Events = UntypedEvents>
  extends Omit<OptimisticStore<State | undefined, Events>, 'run' | 'load'> {
  /** Shows a change in the query's data at once and sends it; see {@link OptimisticStore.run}. One that fails has the query fetched. */
  run(change: Change<State>): Promise<void>;
}

/**
 * Makes optimistic changes of a query's data in the cache, so that every component that uses the query shows them. What is fetched
 * meanwhile, and with `reduce` what events bring, is the confirmed state, and the pending changes are put on top of it again.
 *
 * What else writes the query's data (`setQueryData`) does so to what is shown, and that counts as confirmed from there on. So use
 * `reduce` here rather than `apply` in a rule for the same key.
 */
export function optimisticQuery<State, Events extends EventMap<Events> = UntypedEvents>(
  queryClient: OptimisticQueryClient,
  queryKey: QueryKey,
  options: OptimisticQueryOptions<State, Events> = {},
): OptimisticQuery<State, Events> {
  const { reduce, ...others } = options;
  const exact = { queryKey, exact: true } as const;
  const query = (): QueryStateLike | undefined => queryClient.getQueryState(queryKey);
  const store = createStore<State | undefined, Events>(
    {
      ...others,
      initial: undefined,
      ...(reduce && { reduce: (data, event) => (data === undefined ? data : reduce(data, event)) }),
    },
    {
      async refresh() {
        // What is under way may be older than what this is for.
        if (query()?.fetchStatus === 'fetching') await queryClient.refetchQueries(exact, { cancelRefetch: false });
        await queryClient.invalidateQueries(exact, { cancelRefetch: false });
      },
      started() {
        attached = true;
        watch();
      },
      ended() {
        attached = false;
        leave();
      },
    },
  );

  let attached = false;
  let unwatch: (() => void) | undefined;
  let load: Load<State | undefined> | undefined; // the fetch that is under way
  let view: State | undefined; // what was to be shown
  let data: unknown; // what of it the cache has made
  let writing = false;

  /** Takes what the cache has as the confirmed state. */
  function take(now: QueryStateLike | undefined): void {
    data = now?.data;
    (load ?? store.load()).done(now?.data as State | undefined);
    load = undefined;
  }

  function watch(): void {
    if (unwatch) return;
    const before = query();
    take(before);
    if (before?.fetchStatus === 'fetching') load = store.load();
    unwatch = queryClient.getQueryCache().subscribe(({ type, query: { state }, action }) => {
      if (writing) return;
      const now = query();
      if (!now) {
        if (data !== undefined) take(now); // it was removed
        return;
      }
      if (type !== 'updated' || state !== now) return; // of another query, or what its observers make of it
      if (action?.type === 'fetch') load = store.load();
      else if (action?.type === 'success' && !action.manual) take(now);
      else {
        if (now.fetchStatus === 'idle' || now.data !== data) {
          load?.drop();
          load = undefined;
        }
        if (now.data !== data) take(now);
      }
    });
  }

  store.subscribe((snapshot) => {
    const now = query();
    if (now && snapshot.state !== undefined && snapshot.state !== view && snapshot.state !== now.data) {
      writing = true;
      // It is not newer than it was: what made it out of date still does.
      data = queryClient.setQueryData(queryKey, snapshot.state, { updatedAt: now.dataUpdatedAt });
      if (now.isInvalidated) queryClient.invalidateQueries({ ...exact, refetchType: 'none' });
      writing = false;
    }
    view = snapshot.state;
    leave();
  });

  /** Looks no more at the cache when there is nothing to do. */
  function leave(): void {
    if (attached || store.getSnapshot().pending.length > 0) return;
    unwatch?.();
    load?.drop();
    unwatch = load = undefined;
  }

  return {
    getSnapshot: store.getSnapshot,
    subscribe: store.subscribe,
    refetch: store.refetch,
    async run(change) {
      watch();
      try {
        await store.run({
          apply: (state) => (state === undefined ? state : change.apply(state)),
          send: (eventId, signal) => change.send(eventId, signal),
        });
      } catch (error) {
        store.refetch();
        throw error;
      }
    },
    attach: store.attach,
  };
}
