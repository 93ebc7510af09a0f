import { type Attachable, createAttach } from './attach.js';
import type { AnyEvent, EventMap, EventOf, UntypedEvents } from './types.js';

export type { Attachable } from './attach.js';

/** A key of TanStack Query. It stands for all queries whose keys begin so. */
export type QueryKey = readonly unknown[];

/** What is used of a query of TanStack Query. */
export interface QueryLike {
  readonly queryKey: QueryKey;
  readonly state: { readonly fetchStatus: string; readonly isInvalidated: boolean };
}

/** What is used of the `QueryClient` of TanStack Query 5, whichever framework it comes with. */
export interface QueryClientLike {
  invalidateQueries(
    filters?: { queryKey?: QueryKey; exact?: boolean },
    options?: { cancelRefetch?: boolean },
  ): Promise<void>;
  getQueryCache(): {
    findAll(filters: { queryKey: QueryKey; fetchStatus?: 'fetching' }): QueryLike[];
    subscribe(listener: (event: { type: string; query: QueryLike; action?: { type: string } }) => void): () => void;
  };
}

/** What one event, or one type of events, invalidates. */
export interface Rule<Type, Event> {
  /** The type of the events; `*` stands for all. */
  type: Type;

  /**
   * The keys that an event invalidates. A key ends before its first null or undefined, so with the id null
   * `['posts', event.id]` is `['posts']`: the item where it is known, and else all of them.
   */
  keys: readonly QueryKey[] | ((event: Event) => readonly QueryKey[]);

  /**
   * The keys of everything that events of this rule can touch on a channel. They are invalidated when events
   * may be missing: after a gap, when the channel comes onto the stream (what was fetched before may be older than
   * the first event), and when `keys` or `apply` throws. Where it throws itself, everything in the cache is.
   * @defaultValue `keys`, where these are the same for every event; else everything in the cache
   */
  all?: readonly QueryKey[] | ((channel: string) => readonly QueryKey[]) | undefined;

  /**
   * Writes the event's data into the cache (`queryClient.setQueryData`) in place of an invalidation. When it
   * returns false, `keys` are invalidated all the same. Queries of `keys` that are being fetched right now are fetched
   * once more, as the answer may be older than the event.
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: most functions return nothing
  apply?(event: Event): boolean | void;
}

/** A {@link Rule} for any type of an event map. */
export type InvalidationRule<Events> =
  | { [Type in keyof Events & string]: Rule<Type, EventOf<Events, Type>> }[keyof Events & string]
  | Rule<'*', AnyEvent<Events>>;

type Find = ReturnType<QueryClientLike['getQueryCache']>['findAll'];

/** A rule, whatever its events are. */
type AnyRule = Rule<string, AnyEvent<UntypedEvents>>;

/** What `invalidationRules` takes beside the rules. */
export interface InvalidationOptions {
  /**
   * The type of events that invalidate everything in the cache.
   * @defaultValue 'flush'
   */
  flush?: string;

  /**
   * Up to how many ms, by chance, invalidations wait, so that the browsers of a busy channel do not all ask the
   * server at once. With 0 they wait for the next frame.
   * @defaultValue 0
   */
  jitter?: number;
}

/** What `invalidationRules` makes. All methods may be called unbound. */
export interface Invalidation<Events> extends Attachable<Events> {
  /** Invalidates what the rules know of a channel, as a gap does. */
  invalidateAll(channel: string): void;
}

/** How long in ms a batch waits where no frame comes, as in a hidden tab. */
const NO_FRAME = 100;

/** The key that all keys begin with. */
const EVERYTHING: QueryKey = [];

/**
 * Invalidates queries of TanStack Query as events come, by rules:
 *
 * ```ts
 * const rules = invalidationRules<Events>(queryClient, [
 *   { type: 'post', keys: (event) => [['posts', event.id], ['posts', 'list']], all: [['posts']] },
 * ]);
 * rules.attach(connection, 'posts'); // or useChannel('posts', rules)
 * ```
 *
 * What comes within a frame is one batch, in which each key is invalidated once. A query that is being fetched is not
 * interrupted: it is fetched once more when its answer has come, however many events there were meanwhile, so
 * a steady stream of events cannot starve it.
 */
export function invalidationRules<Events extends EventMap<Events> = UntypedEvents>(
  queryClient: QueryClientLike,
  rules: readonly InvalidationRule<NoInfer<Events>>[],
  options: InvalidationOptions = {},
): Invalidation<Events> {
  const { flush = 'flush', jitter = 0 } = options;
  const batch = new Map<string, { queryKey: QueryKey; exact: boolean }>();
  const dirty = new Set<QueryLike>(); // are being fetched, and the answer may be too old
  let scheduled = false;
  let unwatch: (() => void) | undefined;

  const find: Find = (filters) => queryClient.getQueryCache().findAll(filters);

  function add(queryKey: QueryKey, exact = false): void {
    // What is fetched from now on is new enough, also if the batch comes later.
    if (!exact) fetchAgain(queryKey);
    batch.set(`${exact}${JSON.stringify(queryKey)}`, { queryKey, exact });
    if (scheduled) return;
    scheduled = true;
    if (jitter > 0) setTimeout(commit, Math.random() * jitter);
    else nextFrame(commit);
  }

  function commit(): void {
    scheduled = false;
    const everything = [...batch.values()].find(({ queryKey }) => queryKey.length === 0);
    const all = everything ? [everything] : [...batch.values()];
    batch.clear();
    for (const filters of all) queryClient.invalidateQueries(filters, { cancelRefetch: false });
  }

  /** Has the queries that are being fetched fetched once more, after that. */
  function fetchAgain(queryKey: QueryKey): void {
    for (const query of find({ queryKey, fetchStatus: 'fetching' })) dirty.add(query);
    if (dirty.size === 0) return;
    unwatch ??= queryClient.getQueryCache().subscribe(({ type, query, action }) => {
      // Somebody else may have it fetched anew, and what is asked for now is new enough.
      if (type === 'removed' || action?.type === 'fetch') dirty.delete(query);
      else if (query.state.fetchStatus === 'idle' && dirty.delete(query)) add(query.queryKey, true);
      if (dirty.size > 0) return;
      unwatch?.();
      unwatch = undefined;
    });
  }

  function addAll({ keys, all }: Pick<AnyRule, 'keys' | 'all'>, channel: string): void {
    const touched = all ?? (typeof keys === 'function' ? [EVERYTHING] : keys);
    try {
      for (const key of typeof touched === 'function' ? touched(channel) : touched) add(key);
    } catch (error) {
      add(EVERYTHING); // for the rules after this one too
      throw error; // to be reported
    }
  }

  /** What a rule does with an event. */
  function take({ keys, all, apply }: AnyRule, event: AnyEvent<UntypedEvents>): void {
    try {
      const touched = (typeof keys === 'function' ? keys(event) : keys).map(known);
      // What is written counts as new altogether, also where an older event had asked for more.
      const old = apply
        ? touched.flatMap((queryKey) => find({ queryKey }).filter((query) => query.state.isInvalidated))
        : [];
      if (!apply || apply(event) === false) for (const key of touched) add(key);
      else {
        touched.forEach(fetchAgain);
        for (const { queryKey } of old) add(queryKey, true);
      }
    } catch (error) {
      addAll({ keys, all }, event.channel);
      throw error; // to be reported
    }
  }

  const untyped = rules as readonly unknown[] as readonly AnyRule[];

  function invalidateAll(channel: string): void {
    for (const rule of untyped) addAll(rule, channel);
  }

  const attach = createAttach<Events>({
    events: [
      ...untyped.map((rule) => ({ type: rule.type, take: (event: AnyEvent<UntypedEvents>) => take(rule, event) })),
      { type: flush, take: () => add(EVERYTHING) },
    ],
    missed: invalidateAll,
  });
  return { invalidateAll, attach };
}

/** The part of a key before its first null or undefined. */
function known(key: QueryKey): QueryKey {
  const end = key.findIndex((part) => part === null || part === undefined);
  return end < 0 ? key : key.slice(0, end);
}

/** Calls at the next frame, or soon where none comes. */
function nextFrame(call: () => void): void {
  if (typeof requestAnimationFrame !== 'function') {
    setTimeout(call);
    return;
  }
  const end = (): void => {
    clearTimeout(timer);
    cancelAnimationFrame(frame);
    call();
  };
  const timer = setTimeout(end, NO_FRAME);
  const frame = requestAnimationFrame(end);
}
