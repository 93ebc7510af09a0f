import { notifyManager, QueryClient, QueryObserver } from '@tanstack/query-core';
import { afterEach, beforeEach, describe, expect, expectTypeOf, test, vi } from 'vitest';
import { type OptimisticQueryOptions, optimisticQuery } from '../src/optimistic-query.js';
import { invalidationRules } from '../src/query.js';
import { fakeConnection } from './fake-connection.js';

interface Events {
  task_saved: { id: number; title: string };
}
type Tasks = Readonly<Record<number, string>>;

const KEY = ['tasks', 42];
const LOST = new Error('lost');

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

async function settle(): Promise<void> {
  await vi.advanceTimersByTimeAsync(1);
  await vi.advanceTimersByTimeAsync(1);
}

const reduce = (tasks: Tasks, { data }: { data: Events['task_saved'] }): Tasks => ({ ...tasks, [data.id]: data.title });

/** A page that shows a query whose requests, and changes whose sends, the test answers. */
async function page(options: OptimisticQueryOptions<Tasks, Events> = { reduce }) {
  const fake = fakeConnection<Events>();
  const client = new QueryClient({
    defaultOptions: { queries: { retry: false, staleTime: Number.POSITIVE_INFINITY } },
  });
  let count = 0;
  const store = optimisticQuery<Tasks, Events>(client, KEY, { eventId: () => `own${++count}`, ...options });
  const requests: ((data: Tasks) => Promise<void>)[] = [];
  const shown: (string | undefined)[] = [];
  const observer = new QueryObserver<Tasks>(client, {
    queryKey: KEY,
    queryFn: () =>
      new Promise((resolve) => {
        requests.push((data) => {
          resolve(data);
          return settle();
        });
      }),
  });
  // As the hooks of the frameworks do it.
  const render = notifyManager.batchCalls(() => {
    const { data } = observer.getCurrentResult();
    const now = data && Object.values(data).join();
    if (shown.at(-1) !== now) shown.push(now);
  });
  const unmount = observer.subscribe(render);
  const sends: { answer(): void; fail(error: Error): void }[] = [];
  const rename = (id: number, title: string) => {
    const outcome = { confirmed: false, error: undefined as unknown };
    store
      .run({
        apply: (tasks) => ({ ...tasks, [id]: title }),
        send: () => new Promise<void>((resolve, reject) => sends.push({ answer: resolve, fail: reject })),
      })
      .then(
        () => {
          outcome.confirmed = true;
        },
        (error) => {
          outcome.error = error;
        },
      );
    return outcome;
  };
  const end = store.attach(fake.connection, 'tasks');
  await requests[0]?.({ 1: 'one' });
  return {
    fake,
    client,
    store,
    requests,
    sends,
    shown,
    unmount,
    end,
    rename,
    data: () => client.getQueryData(KEY),
    saved: (id: number, title: string, event_id?: string) =>
      fake.event('tasks', { type: 'task_saved', data: { id, title }, ...(event_id && { event_id }) }),
  };
}

test('a change is in the cache at once, and its event takes its place', async () => {
  const it = await page();
  const outcome = it.rename(1, 'uno');
  expect(it.data()).toEqual({ 1: 'uno' });
  it.saved(1, 'uno', 'own1');
  await settle();
  expect(outcome.confirmed).toBe(true);
  expect(it.store.getSnapshot().pending).toEqual([]);
  expect(it.shown).toEqual(['one', 'uno']);
  expect(it.requests).toHaveLength(1);
});

test('events of others are in the cache, below the changes', async () => {
  const it = await page();
  it.rename(1, 'uno');
  it.saved(1, 'eins');
  it.saved(2, 'zwei');
  expect(it.data()).toEqual({ 1: 'uno', 2: 'zwei' });
  it.saved(1, 'uno', 'own1');
  it.saved(1, 'un');
  expect(it.data()).toEqual({ 1: 'un', 2: 'zwei' });
});

test('a change that fails goes, and has the query fetched', async () => {
  const it = await page();
  const outcome = it.rename(1, 'uno');
  it.saved(2, 'zwei');
  it.sends[0]?.fail(LOST);
  await settle();
  expect(outcome.error).toBe(LOST);
  expect(it.data()).toEqual({ 1: 'one', 2: 'zwei' });
  expect(it.requests).toHaveLength(2);
});

test('an answer that was read before does not undo a change, nor an event', async () => {
  const it = await page();
  it.client.refetchQueries();
  await settle();
  it.rename(1, 'uno');
  await settle();
  it.saved(2, 'zwei');
  await settle();
  await it.requests[1]?.({ 1: 'one' });
  expect(it.data()).toEqual({ 1: 'uno', 2: 'zwei' });
  expect(it.shown).toEqual(['one', 'uno', 'uno,zwei']); // no flicker
});

test('neither does one that was asked for before the channel was attached', async () => {
  const it = await page();
  it.end();
  await vi.advanceTimersByTimeAsync(1000);
  it.client.refetchQueries();
  await settle();
  it.store.attach(it.fake.connection, 'tasks');
  it.saved(2, 'zwei');
  await it.requests[1]?.({ 1: 'one' });
  expect(it.data()).toEqual({ 1: 'one', 2: 'zwei' });
});

test('what was accepted before a fetch is the answer’s', async () => {
  const it = await page();
  it.rename(1, 'uno');
  it.sends[0]?.answer();
  await settle();
  it.client.refetchQueries();
  await it.requests[1]?.({ 1: 'UNO' });
  expect(it.data()).toEqual({ 1: 'UNO' });
  expect(it.store.getSnapshot().pending).toEqual([]);
});

test('a gap has the query fetched, after what is under way', async () => {
  const it = await page();
  it.client.refetchQueries();
  it.fake.gap('tasks');
  await settle();
  expect(it.requests).toHaveLength(2);
  await it.requests[1]?.({ 1: 'older' });
  expect(it.requests).toHaveLength(3);
  await it.requests[2]?.({ 1: 'newer' });
  await vi.advanceTimersByTimeAsync(60_000);
  expect(it.requests).toHaveLength(3);
  expect(it.data()).toEqual({ 1: 'newer' });
  expect(it.store.getSnapshot().stale).toBe(false);
});

test('without reduce, a change stays until the query is fetched after its event', async () => {
  const it = await page({});
  invalidationRules<Events>(it.client, [{ type: 'task_saved', keys: [['tasks']] }]).attach(it.fake.connection, 'tasks');
  it.rename(1, 'uno');
  it.saved(1, 'uno', 'own1');
  await settle();
  expect(it.data()).toEqual({ 1: 'uno' });
  await it.requests[1]?.({ 1: 'uno', 2: 'due' });
  expect(it.shown).toEqual(['one', 'uno', 'uno,due']);
  expect(it.store.getSnapshot().pending).toEqual([]);
});

test('together with rules, a channel that comes onto the stream is one fetch', async () => {
  const it = await page();
  invalidationRules<Events>(it.client, [{ type: 'task_saved', keys: [['tasks']] }]).attach(it.fake.connection, 'tasks');
  it.fake.open('tasks');
  await settle();
  await it.requests[1]?.({ 1: 'one' });
  await settle();
  expect(it.requests).toHaveLength(2);
});

test('what makes the data old still does after a change', async () => {
  const it = await page();
  const before = it.client.getQueryState(KEY)?.dataUpdatedAt;
  it.unmount();
  await it.client.invalidateQueries();
  await vi.advanceTimersByTimeAsync(1000);
  it.rename(1, 'uno');
  expect(it.client.getQueryState(KEY)).toMatchObject({
    dataUpdatedAt: before,
    isInvalidated: true,
    data: { 1: 'uno' },
  });
});

test('what somebody else writes counts as confirmed', async () => {
  const it = await page();
  it.rename(1, 'uno');
  it.client.setQueryData(KEY, (tasks: Tasks) => ({ ...tasks, 2: 'two' }));
  expect(it.data()).toEqual({ 1: 'uno', 2: 'two' });
  it.saved(3, 'drei');
  expect(it.data()).toEqual({ 1: 'uno', 2: 'two', 3: 'drei' });
});

test('what somebody else writes during a fetch is not undone by an event before', async () => {
  const it = await page();
  it.client.refetchQueries();
  it.saved(2, 'zwei');
  it.client.setQueryData(KEY, (tasks: Tasks) => ({ ...tasks, 2: 'two' }));
  it.saved(3, 'drei');
  expect(it.data()).toEqual({ 1: 'one', 2: 'two', 3: 'drei' });
});

test('a query that is removed is not brought back', async () => {
  const it = await page();
  it.rename(1, 'uno');
  it.unmount();
  it.client.removeQueries({ queryKey: KEY });
  expect(it.store.getSnapshot().state).toBeUndefined();
  it.saved(2, 'zwei');
  expect(it.client.getQueryState(KEY)).toBeUndefined();
});

describe('the cache is watched', () => {
  test('as long as a channel is attached or a change pending', async () => {
    const it = await page();
    const cache = it.client.getQueryCache();
    expect(cache.hasListeners()).toBe(true);
    it.rename(1, 'uno');
    it.end();
    await vi.advanceTimersByTimeAsync(1000);
    expect(cache.hasListeners()).toBe(true);
    it.sends[0]?.fail(LOST);
    await settle();
    expect(it.data()).toEqual({ 1: 'one' });
    expect(cache.hasListeners()).toBe(false);
  });

  test('also for a change without any channel', async () => {
    const it = await page();
    it.end();
    await vi.advanceTimersByTimeAsync(1000);
    it.client.setQueryData(KEY, { 1: 'eins' });
    it.rename(2, 'due');
    expect(it.data()).toEqual({ 1: 'eins', 2: 'due' });
    await vi.advanceTimersByTimeAsync(10_000);
    await it.requests.at(-1)?.({ 1: 'eins' });
    expect(it.data()).toEqual({ 1: 'eins' });
  });
});

test('types the data', () => {
  const store = optimisticQuery<Tasks, Events>(new QueryClient(), KEY);
  expectTypeOf(store.getSnapshot().state).toEqualTypeOf<Tasks | undefined>();
  expectTypeOf<Parameters<Parameters<typeof store.run>[0]['apply']>>().toEqualTypeOf<[Tasks]>();
});
