import { QueryClient as QueryCore, type QueryKey, QueryObserver } from '@tanstack/query-core';
import { afterEach, beforeEach, describe, expect, expectTypeOf, test, vi } from 'vitest';
import type { Fields } from '../src/index.js';
import { type InvalidationOptions, type InvalidationRule, invalidationRules } from '../src/query.js';
import { type FakeConnection, fakeConnection } from './fake-connection.js';

interface Events {
  post: Fields<{ action: 'create' | 'update' | 'delete'; id: string | null; title?: string }>;
  comment: { post: string };
  flush: Fields<object>;
}

const POSTS: InvalidationRule<Events> = {
  type: 'post',
  keys: (event) => [
    ['posts', event.id],
    ['posts', 'list'],
  ],
  all: [['posts']],
};

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A cache of TanStack Query whose invalidations and requests are counted. */
function cache() {
  const client = new QueryCore({ defaultOptions: { queries: { retry: false, staleTime: Number.POSITIVE_INFINITY } } });
  const invalidated: unknown[] = [];
  const invalidate = client.invalidateQueries.bind(client);
  client.invalidateQueries = (filters, options) => {
    invalidated.push(filters?.queryKey);
    return invalidate(filters, options);
  };
  /** Watches a query, as a mounted component does. The test answers its requests. */
  const watch = (queryKey: QueryKey) => {
    const requests: ((data: unknown) => Promise<void>)[] = [];
    const queryFn = () =>
      new Promise((resolve) => {
        requests.push((data) => {
          resolve(data);
          return settle();
        });
      });
    new QueryObserver(client, { queryKey, queryFn }).subscribe(() => {});
    return { requests, answer: (data: unknown) => requests.at(-1)?.(data), data: () => client.getQueryData(queryKey) };
  };
  return { client, invalidated, watch };
}

/** Lets the pending batch and all that follows from it happen. */
async function settle(): Promise<void> {
  await vi.advanceTimersByTimeAsync(1);
  await vi.advanceTimersByTimeAsync(1);
}

function setup(rules: readonly InvalidationRule<Events>[], options?: InvalidationOptions) {
  const fake: FakeConnection<Events> = fakeConnection<Events>();
  const it = cache();
  const invalidation = invalidationRules<Events>(it.client, rules, options);
  const end = invalidation.attach(fake.connection, 'posts');
  return { ...it, fake, invalidation, end };
}

describe('per-item invalidation', () => {
  test('one event is one invalidation of each key', async () => {
    const { fake, invalidated } = setup([POSTS]);
    fake.event('posts', { type: 'post', action: 'update', id: 'abc' });
    expect(invalidated).toEqual([]); // not before the batch
    await settle();
    expect(invalidated).toEqual([
      ['posts', 'abc'],
      ['posts', 'list'],
    ]);
  });

  test('the item and the list are fetched once, and another item is not', async () => {
    const { fake, watch } = setup([POSTS]);
    const queries = [watch(['posts', 'abc']), watch(['posts', 'list']), watch(['posts', 'xyz']), watch(['users'])];
    for (const query of queries) await query.answer('before');
    fake.event('posts', { type: 'post', action: 'update', id: 'abc' });
    await settle();
    for (const query of queries.slice(0, 2)) await query.answer('after');
    await settle();
    expect(queries.map(({ requests }) => requests.length)).toEqual([2, 2, 1, 1]);
    expect(queries.map(({ data }) => data())).toEqual(['after', 'after', 'before', 'before']);
  });

  test('without an id, all items are invalidated', async () => {
    const { fake, invalidated, watch } = setup([POSTS]);
    const [item, list, user] = [watch(['posts', 'abc']), watch(['posts', 'list']), watch(['users'])];
    for (const query of [item, list, user]) await query.answer('before');
    fake.event('posts', { type: 'post', action: 'update', id: null });
    await settle();
    expect(invalidated).toEqual([['posts'], ['posts', 'list']]);
    expect([item, list, user].map(({ requests }) => requests.length)).toEqual([2, 2, 1]);
  });

  test('does not cascade: an invalidation makes no event and no other invalidation', async () => {
    const { fake, invalidated, watch } = setup([POSTS, { type: '*', keys: [['log']] }]);
    const heard = vi.fn();
    fake.connection.on('*', heard);
    const list = watch(['posts', 'list']);
    await list.answer(0);
    fake.event('posts', { type: 'post', action: 'create', id: 'abc' });
    await settle();
    await list.answer(1);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(heard).toHaveBeenCalledTimes(1);
    expect(invalidated).toEqual([['posts', 'abc'], ['posts', 'list'], ['log']]);
    expect(list.requests).toHaveLength(2);
  });

  test('a flush invalidates everything, exactly once, and nothing else', async () => {
    const { fake, invalidated, watch } = setup([POSTS]);
    const queries = [watch(['posts', 'abc']), watch(['users'])];
    for (const query of queries) await query.answer('before');
    fake.event('posts', { type: 'post', action: 'update', id: 'abc' });
    fake.event('posts', { type: 'flush' });
    fake.event('posts', { type: 'flush' });
    fake.event('posts', { type: 'post', action: 'update', id: 'abc' });
    await settle();
    expect(invalidated).toEqual([[]]);
    expect(queries.map(({ requests }) => requests.length)).toEqual([2, 2]);
  });

  test('a flush has the type that it is given', async () => {
    const { fake, invalidated } = setup([POSTS], { flush: 'cache_cleared' });
    fake.event('posts', { type: 'flush' });
    await settle();
    expect(invalidated).toEqual([]);
    fake.event('posts', { type: 'cache_cleared' });
    await settle();
    expect(invalidated).toEqual([[]]);
  });

  test('events of other types and channels invalidate nothing, and those after the end neither', async () => {
    const { fake, invalidated, end } = setup([POSTS]);
    fake.event('posts', { type: 'other', id: 'abc' });
    fake.event('drafts', { type: 'post', id: 'abc' });
    end();
    await vi.advanceTimersByTimeAsync(1000);
    fake.event('posts', { type: 'post', id: 'abc' });
    await settle();
    expect(invalidated).toEqual([]);
    expect(fake.connection.channels).toEqual([]);
  });
});

describe('batches', () => {
  test('a burst is one invalidation of each key', async () => {
    const { fake, invalidated, watch } = setup([POSTS]);
    const list = watch(['posts', 'list']);
    await list.answer(0);
    for (let n = 0; n < 1000; n++) fake.event('posts', { type: 'post', action: 'update', id: `${n % 2}` });
    await settle();
    expect(invalidated).toHaveLength(3);
    expect(list.requests).toHaveLength(2);
  });

  test('what is attached twice counts an event once', async () => {
    const apply = vi.fn();
    const { fake, invalidation } = setup([{ ...POSTS, apply } as InvalidationRule<Events>]);
    invalidation.attach(fake.connection, 'posts');
    invalidation.attach(fake.connection);
    fake.event('posts', { type: 'post', action: 'update', id: 'abc' });
    expect(apply).toHaveBeenCalledTimes(1);
  });

  test('jitter spreads clients', async () => {
    vi.spyOn(Math, 'random').mockReturnValueOnce(0.25).mockReturnValueOnce(0.75);
    const early = setup([POSTS], { jitter: 1000 });
    const late = setup([POSTS], { jitter: 1000 });
    for (const { fake } of [early, late]) fake.event('posts', { type: 'post', action: 'update', id: null });
    await vi.advanceTimersByTimeAsync(500);
    expect(early.invalidated).not.toEqual([]);
    expect(late.invalidated).toEqual([]);
    await vi.advanceTimersByTimeAsync(500);
    expect(late.invalidated).toEqual(early.invalidated);
  });
});

describe('a query that is being fetched', () => {
  test('is new enough where that began after the event', async () => {
    const { fake, client, watch } = setup([POSTS]);
    const list = watch(['posts', 'list']);
    await list.answer('before');
    fake.event('posts', { type: 'post', action: 'create', id: 'abc' });
    client.refetchQueries(); // as when the window is focused
    await settle();
    await list.answer('after');
    await settle();
    expect(list.requests).toHaveLength(2);
  });

  test('is fetched once more, as its answer may be older than the event', async () => {
    const { fake, watch } = setup([POSTS]);
    const list = watch(['posts', 'list']);
    fake.event('posts', { type: 'post', action: 'create', id: 'abc' }); // during the very first fetch
    await settle();
    expect(list.requests).toHaveLength(1);
    await list.answer('older');
    await settle();
    expect(list.requests).toHaveLength(2);
    await list.answer('newer');
    await vi.advanceTimersByTimeAsync(60_000);
    expect(list.requests).toHaveLength(2);
    expect(list.data()).toBe('newer');
  });

  test('has no other fetched once more with it', async () => {
    const { fake, client, watch } = setup([{ type: 'post', keys: [['posts']] }]);
    const posts = watch(['posts']);
    fake.event('posts', { type: 'post', action: 'create', id: 'abc' });
    await settle();
    const post = watch(['posts', 'abc']);
    await posts.answer('older');
    await settle();
    expect(posts.requests).toHaveLength(2);
    await posts.answer('newer');
    await post.answer('new');
    await vi.advanceTimersByTimeAsync(60_000);
    expect([posts, post].map(({ requests }) => requests.length)).toEqual([2, 1]);
    expect(client.getQueryCache().hasListeners()).toBe(false);
  });

  test('is not starved by a steady stream of events', async () => {
    const { fake, watch } = setup([POSTS]);
    const list = watch(['posts', 'list']);
    await list.answer(0);
    for (let n = 1; n <= 3; n++) {
      for (let i = 0; i < 50; i++) {
        fake.event('posts', { type: 'post', action: 'create', id: `${i}` });
        await settle();
      }
      expect(list.requests).toHaveLength(n + 1);
      await list.answer(n);
      expect(list.data()).toBe(n);
      await settle();
    }
  });

  test('is not fetched again where somebody else has it fetched anew meanwhile', async () => {
    const { fake, client, watch } = setup([POSTS]);
    const list = watch(['posts', 'list']);
    await list.answer(0);
    client.refetchQueries();
    fake.event('posts', { type: 'post', action: 'create', id: 'abc' });
    await settle();
    client.refetchQueries(); // cancels the one before
    await list.answer(1);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(list.requests).toHaveLength(3);
    expect(list.data()).toBe(1);
  });
});

describe('gaps', () => {
  test('invalidate all that hangs on the rules of the channel', async () => {
    const { fake, invalidated } = setup([
      POSTS,
      { type: 'comment', keys: (event) => [['comments', event.data.post]], all: (channel) => [['comments', channel]] },
      { type: '*', keys: [['log']] },
    ]);
    fake.gap('posts');
    fake.gap('drafts');
    await settle();
    expect(invalidated).toEqual([['posts'], ['comments', 'posts'], ['log']]);
  });

  test('invalidate everything where a rule does not say what it touches', async () => {
    const { fake, invalidated } = setup([POSTS, { type: 'comment', keys: (event) => [['comments', event.data.post]] }]);
    fake.gap('posts');
    await settle();
    expect(invalidated).toEqual([[]]);
  });
});

describe('a channel that comes onto the stream', () => {
  test('invalidates what was fetched before, and a reconnect does not', async () => {
    const { fake, invalidated, watch } = setup([POSTS]);
    const [fetched, underway] = [watch(['posts', 'list']), watch(['posts', 'abc'])];
    await fetched.answer('before');
    fake.open('drafts');
    await settle();
    expect(invalidated).toEqual([]);
    fake.open('drafts', 'posts');
    await settle();
    expect(invalidated).toEqual([['posts']]);
    await fetched.answer('after');
    await underway.answer('before');
    await settle();
    expect([fetched, underway].map(({ requests }) => requests.length)).toEqual([2, 2]);

    fake.state({ status: 'reconnecting', open: null });
    fake.open('posts');
    await settle();
    expect([fetched, underway].map(({ requests }) => requests.length)).toEqual([2, 2]);
  });

  test('does so again after it had left', async () => {
    const { fake, invalidated } = setup([POSTS]);
    fake.open('posts');
    await settle();
    fake.open('drafts');
    fake.open('posts');
    await settle();
    expect(invalidated).toEqual([['posts'], ['posts']]);
  });

  test('counts from when it is attached, and the next page that attaches it goes on', async () => {
    const { fake, invalidation, invalidated, end } = setup([POSTS]);
    end();
    await vi.advanceTimersByTimeAsync(1000);
    fake.open('posts');
    await settle();
    expect(invalidated).toEqual([]);
    const leave = invalidation.attach(fake.connection, 'posts');
    await settle();
    expect(invalidated).toEqual([['posts']]);
    leave();
    await vi.advanceTimersByTimeAsync(500);
    fake.event('posts', { type: 'post', action: 'update', id: 'abc' }); // between two pages
    invalidation.attach(fake.connection, 'posts');
    invalidation.attach(fake.connection, 'posts');
    await vi.advanceTimersByTimeAsync(5000);
    expect(invalidated).toEqual([['posts'], ['posts', 'abc'], ['posts', 'list']]);
    expect(fake.connection.channels).toEqual(['posts']);
  });

  test('counts for each channel of a connection that is attached as a whole', async () => {
    const { fake, invalidation, invalidated } = setup([{ type: '*', keys: [], all: (channel) => [[channel]] }]);
    invalidation.attach(fake.connection);
    fake.open('drafts', 'posts');
    await settle();
    expect(invalidated).toEqual([['posts'], ['drafts']]);
  });
});

describe('apply', () => {
  const rule = (client: () => QueryCore): InvalidationRule<Events> => ({
    ...POSTS,
    type: 'post',
    apply(event) {
      if (event.title === undefined) return false;
      client().setQueryData(['posts', event.id], event.title);
      return true;
    },
  });

  test('writes into the cache in place of a fetch', async () => {
    const it = setup([rule(() => it.client)]);
    const item = it.watch(['posts', 'abc']);
    await item.answer('before');
    it.fake.event('posts', { type: 'post', action: 'update', id: 'abc', title: 'after' });
    expect(item.data()).toBe('after');
    await settle();
    expect(it.invalidated).toEqual([]);
    expect(item.requests).toHaveLength(1);
  });

  test('that returns false leaves it to the keys', async () => {
    const it = setup([rule(() => it.client)]);
    it.fake.event('posts', { type: 'post', action: 'update', id: 'abc' });
    await settle();
    expect(it.invalidated).toEqual([
      ['posts', 'abc'],
      ['posts', 'list'],
    ]);
  });

  test('is not lost to an answer that is older', async () => {
    const it = setup([rule(() => it.client)]);
    const item = it.watch(['posts', 'abc']);
    await item.answer('before');
    it.client.refetchQueries();
    it.fake.event('posts', { type: 'post', action: 'update', id: 'abc', title: 'after' });
    await item.answer('before');
    await settle();
    expect(item.requests).toHaveLength(3);
    await item.answer('after');
    expect(item.data()).toBe('after');
  });

  test('does not make new what an older event had made old', async () => {
    const it = setup([rule(() => it.client)]);
    it.client.setQueryData(['posts', 'abc'], 'before'); // no component shows it
    it.fake.event('posts', { type: 'post', action: 'update', id: 'abc' });
    await settle();
    it.fake.event('posts', { type: 'post', action: 'update', id: 'abc', title: 'after' });
    await settle();
    expect(it.client.getQueryState(['posts', 'abc'])).toMatchObject({ data: 'after', isInvalidated: true });
  });

  test('that throws is reported, and all is invalidated', async () => {
    const report = vi.fn();
    vi.stubGlobal('reportError', report);
    const broken = new Error('broken');
    const it = setup([
      {
        ...POSTS,
        type: 'post',
        apply() {
          throw broken;
        },
      },
    ]);
    it.fake.event('posts', { type: 'post', action: 'update', id: 'abc', title: 'after' });
    await settle();
    expect(report).toHaveBeenCalledExactlyOnceWith(broken);
    expect(it.invalidated).toEqual([['posts']]);
    vi.unstubAllGlobals();
  });
});

test('a rule that cannot say what a gap touches keeps the others from nothing', async () => {
  const report = vi.fn();
  vi.stubGlobal('reportError', report);
  const it = setup([
    {
      ...POSTS,
      type: 'post',
      all: () => {
        throw new Error('broken');
      },
    },
    { type: 'comment', keys: [['comments']] },
  ]);
  it.fake.gap('posts');
  await settle();
  expect(report).toHaveBeenCalledOnce();
  expect(it.invalidated).toEqual([[]]);
  vi.unstubAllGlobals();
});

test('rules know the events of their type', () => {
  const client = new QueryCore();
  invalidationRules<Events>(client, [
    { type: 'comment', keys: (event) => [['comments', expectTypeOf(event.data.post).toEqualTypeOf<string>()]] },
    { type: '*', keys: (event) => [[event.channel]] },
    // @ts-expect-error there is no such type
    { type: 'comments', keys: [] },
  ]);
});
