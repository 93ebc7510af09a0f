import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Change, createOptimistic, type OptimisticOptions, OptimisticTimeoutError } from '../src/optimistic.js';
import { fakeConnection } from './fake-connection.js';

interface Task {
  id: number;
  title: string;
  done: boolean;
}
type Tasks = Readonly<Record<number, Task>>;

interface Events {
  task_saved: Task;
  task_deleted: { id: number };
}

const task = (id: number, title = `task ${id}`, done = false): Task => ({ id, title, done });
const put = (state: Tasks, task: Task): Tasks => ({ ...state, [task.id]: task });
const without = (state: Tasks, id: number): Tasks => {
  const { [id]: _, ...others } = state;
  return others;
};

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const settle = () => vi.advanceTimersByTimeAsync(0);

/** A board with task 1, and a server whose answers the test gives. */
function board(options: Partial<OptimisticOptions<Tasks, Events>> = {}) {
  const fake = fakeConnection<Events>();
  let count = 0;
  const store = createOptimistic<Tasks, Events>({
    initial: { 1: task(1) },
    reduce(state, event) {
      if (event.type === 'task_saved') return put(state, event.data);
      return event.type === 'task_deleted' ? without(state, event.data.id) : state;
    },
    eventId: () => `own${++count}`,
    ...options,
  });
  const end = store.attach(fake.connection, 'tasks');
  const sent: {
    id: string;
    signal: AbortSignal;
    answer: () => Promise<void>;
    fail: (error: Error) => Promise<void>;
  }[] = [];
  /** Makes a change, and tells what becomes of its promise. */
  const change = (apply: Change<Tasks>['apply']) => {
    const outcome = { confirmed: false, error: undefined as unknown };
    const send = (id: string, signal: AbortSignal) =>
      new Promise<void>((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason)); // as fetch does
        sent.push({
          id,
          signal,
          answer: () => {
            resolve();
            return settle() as unknown as Promise<void>;
          },
          fail: (error) => {
            reject(error);
            return settle() as unknown as Promise<void>;
          },
        });
      });
    store.run({ apply, send }).then(
      () => {
        outcome.confirmed = true;
      },
      (error) => {
        outcome.error = error;
      },
    );
    return outcome;
  };
  return {
    fake,
    store,
    end,
    sent,
    change,
    rename: (id: number, title: string) => change((state) => (state[id] ? put(state, { ...state[id], title }) : state)),
    add: (id: number) => change((state) => put(state, task(id))),
    /** The titles that are shown. */
    titles: () => Object.values(store.getSnapshot().state).map(({ title }) => title),
    pending: () => store.getSnapshot().pending.map(({ id, status }) => `${id} ${status}`),
    saved: (task: Task, event_id?: string) =>
      fake.event('tasks', { type: 'task_saved', data: task, ...(event_id && { event_id }) }),
  };
}

const LOST = new Error('lost');

describe('a change', () => {
  test('is shown at once, and sent with the id of its event', async () => {
    const it = board();
    it.rename(1, 'new');
    expect(it.titles()).toEqual(['new']);
    expect(it.sent.map(({ id }) => id)).toEqual(['own1']);
    expect(it.pending()).toEqual(['own1 sending']);
  });

  test('is confirmed by its event, and is there once', async () => {
    const it = board({ reduce: (state, event) => (event.type === 'task_saved' ? put(state, event.data) : state) });
    const appended = it.change((state) => put(state, task(Math.max(...Object.keys(state).map(Number)) + 1)));
    expect(it.titles()).toEqual(['task 1', 'task 2']);
    it.saved(task(2), 'own1');
    expect(it.titles()).toEqual(['task 1', 'task 2']); // applied anew, it would be task 3 too
    expect(it.pending()).toEqual([]);
    await settle();
    expect(appended.confirmed).toBe(true);
    await it.sent[0]?.answer();
    expect(it.titles()).toEqual(['task 1', 'task 2']);
    expect(it.sent[0]?.signal.aborted).toBe(false);
  });

  test('is confirmed by the answer, and waits for its event in its place', async () => {
    const it = board();
    const renamed = it.rename(1, 'mine');
    await it.sent[0]?.answer();
    expect(renamed.confirmed).toBe(true);
    expect(it.pending()).toEqual(['own1 accepted']);
    // Was published before the change, and comes after the answer to it.
    it.saved(task(1, 'theirs'));
    expect(it.titles()).toEqual(['mine']);
    it.saved(task(1, 'mine'), 'own1');
    expect(it.titles()).toEqual(['mine']);
    expect(it.pending()).toEqual([]);
    it.saved(task(1, 'later'));
    expect(it.titles()).toEqual(['later']);
  });

  test('that fails goes, and leaves the other changes and what came by the stream', async () => {
    const it = board();
    const failing = it.rename(1, 'new');
    it.add(2);
    it.saved(task(3));
    it.saved(task(1, 'task 1', true));
    expect(it.titles()).toEqual(['new', 'task 2', 'task 3']);
    await it.sent[0]?.fail(LOST);
    expect(failing.error).toBe(LOST);
    expect(it.store.getSnapshot().state).toEqual({ 1: task(1, 'task 1', true), 2: task(2), 3: task(3) });
    expect(it.pending()).toEqual(['own2 sending']);
  });

  test('whose event comes is confirmed, though the answer is lost', async () => {
    const it = board();
    const renamed = it.rename(1, 'new');
    it.saved(task(1, 'new'), 'own1');
    await it.sent[0]?.fail(LOST);
    expect(renamed).toEqual({ confirmed: true, error: undefined });
    expect(it.titles()).toEqual(['new']);
  });

  test('is put on top of what others did', async () => {
    const it = board();
    it.rename(1, 'new');
    it.saved(task(1, 'theirs', true));
    expect(it.store.getSnapshot().state).toEqual({ 1: task(1, 'new', true) });
    it.fake.event('tasks', { type: 'task_deleted', data: { id: 1 } });
    expect(it.titles()).toEqual([]);
    await it.sent[0]?.fail(LOST);
    expect(it.titles()).toEqual([]);
  });

  test('several are confirmed in any order', async () => {
    const it = board();
    it.add(2);
    it.add(3);
    it.rename(1, 'new');
    it.saved(task(3), 'own2');
    await it.sent[2]?.fail(LOST);
    it.saved(task(2), 'own1');
    expect(it.store.getSnapshot().state).toEqual({ 1: task(1), 2: task(2), 3: task(3) });
    expect(it.pending()).toEqual([]);
  });

  test('that cannot be applied is not sent', async () => {
    const it = board();
    const conflict = new Error('gone');
    const outcome = it.change(() => {
      throw conflict;
    });
    await settle();
    expect(outcome.error).toBe(conflict);
    expect(it.sent).toEqual([]);
    expect(it.titles()).toEqual(['task 1']);
  });

  test('that can no longer be applied is rolled back', async () => {
    const it = board();
    const conflict = new Error('gone');
    const outcome = it.change((state) => {
      if (!state[1]) throw conflict;
      return put(state, { ...state[1], done: true });
    });
    it.fake.event('tasks', { type: 'task_deleted', data: { id: 1 } });
    await settle();
    expect(outcome.error).toBe(conflict);
    expect(it.sent[0]?.signal.aborted).toBe(true);
    expect(it.store.getSnapshot()).toMatchObject({ state: {}, pending: [] });
  });

  test('its send may throw', async () => {
    const it = board();
    const run = it.store.run({
      apply: (state) => without(state, 1),
      send: () => {
        throw LOST;
      },
    });
    await expect(run).rejects.toBe(LOST);
    expect(it.titles()).toEqual(['task 1']);
  });
});

describe('a timeout', () => {
  test('rolls back a change of which nothing was heard', async () => {
    const it = board({ timeout: 1000 });
    const renamed = it.rename(1, 'new');
    await vi.advanceTimersByTimeAsync(1000);
    expect(renamed.error).toBeInstanceOf(OptimisticTimeoutError);
    expect(it.sent[0]?.signal.aborted).toBe(true);
    expect(it.titles()).toEqual(['task 1']);
    it.saved(task(1, 'new'), 'own1'); // it was made after all
    expect(it.titles()).toEqual(['new']);
  });

  test('never rolls back one that was accepted', async () => {
    const it = board({ timeout: 1000 });
    const renamed = it.rename(1, 'new');
    await it.sent[0]?.answer();
    await vi.advanceTimersByTimeAsync(1000);
    expect(renamed).toEqual({ confirmed: true, error: undefined });
    expect(it.titles()).toEqual(['new']);
    expect(it.pending()).toEqual([]);
  });

  test('fetches the state, which decides', async () => {
    const server = { state: { 1: task(1) } as Tasks };
    const it = board({ timeout: 1000, fetch: async () => server.state });
    await settle();
    const lost = it.rename(1, 'new');
    const accepted = it.add(2);
    await it.sent[1]?.answer();
    server.state = { 1: task(1), 2: task(2) };
    await vi.advanceTimersByTimeAsync(999);
    expect(it.titles()).toEqual(['new', 'task 2']);
    await vi.advanceTimersByTimeAsync(1);
    expect(lost.error).toBeInstanceOf(OptimisticTimeoutError);
    expect(accepted).toEqual({ confirmed: true, error: undefined });
    expect(it.titles()).toEqual(['task 1', 'task 2']);
    expect(it.pending()).toEqual([]);
  });

  test('has an application that fetches by itself load the state', async () => {
    const it = board({ timeout: 1000, onTimeout: 'refetch' });
    it.rename(1, 'new');
    await vi.advanceTimersByTimeAsync(1000);
    expect(it.store.getSnapshot()).toMatchObject({ stale: true, pending: [{ id: 'own1', status: 'unknown' }] });
    it.store.load().done({ 1: task(1) });
    expect(it.store.getSnapshot()).toMatchObject({ state: { 1: task(1) }, stale: false, pending: [] });
  });

  test('shows a change until the state is there', async () => {
    let fail = false;
    const it = board({
      timeout: 1000,
      fetch: async () => {
        if (fail) throw LOST;
        return { 1: task(1) };
      },
    });
    await settle();
    fail = true;
    it.rename(1, 'new');
    await vi.advanceTimersByTimeAsync(1000);
    expect(it.titles()).toEqual(['new']);
    expect(it.pending()).toEqual(['own1 unknown']);
    expect(it.store.getSnapshot().error).toBe(LOST);
    fail = false;
    await vi.advanceTimersByTimeAsync(2000); // it tries again
    expect(it.titles()).toEqual(['task 1']);
    expect(it.store.getSnapshot()).toMatchObject({ pending: [], error: undefined, stale: false });
  });
});

describe('fetching', () => {
  /** A server whose answers the test gives. */
  function server() {
    const asked: ((state: Tasks) => Promise<unknown>)[] = [];
    const fetch = () =>
      new Promise<Tasks>((resolve) => {
        asked.push((state) => {
          resolve(state);
          return settle();
        });
      });
    return { asked, fetch };
  }

  test('happens when it is attached, once in StrictMode too', async () => {
    const { asked, fetch } = server();
    const it = board({ initial: {}, fetch });
    it.end();
    it.store.attach(it.fake.connection, 'tasks');
    await settle();
    expect(asked).toHaveLength(1);
    expect(it.store.getSnapshot()).toMatchObject({ state: {}, stale: true });
    await asked[0]?.({ 1: task(1) });
    expect(it.store.getSnapshot()).toMatchObject({ state: { 1: task(1) }, stale: false });
  });

  test('puts what happened meanwhile on top of the answer', async () => {
    const { asked, fetch } = server();
    const it = board({ fetch });
    await settle();
    it.saved(task(1, 'theirs'));
    it.saved(task(2));
    it.rename(2, 'mine');
    await asked[0]?.({ 1: task(1) }); // is older than both
    expect(it.titles()).toEqual(['theirs', 'mine']);
    expect(it.pending()).toEqual(['own1 sending']);
  });

  test('does not take a change twice that was accepted before', async () => {
    const { asked, fetch } = server();
    const it = board({ fetch, reduce: (state) => state });
    await settle();
    await asked[0]?.({ 1: task(1) });
    it.change((state) => put(state, task(Object.keys(state).length + 1)));
    await it.sent[0]?.answer();
    it.store.refetch();
    await settle();
    await asked[1]?.({ 1: task(1), 2: task(2) });
    expect(it.titles()).toEqual(['task 1', 'task 2']);
    expect(it.pending()).toEqual([]);
  });

  test('happens once more when the channel has come onto the stream', async () => {
    const { asked, fetch } = server();
    const it = board({ fetch });
    await settle();
    it.fake.open('tasks');
    await asked[0]?.({ 1: task(1, 'before') });
    expect(it.store.getSnapshot()).toMatchObject({ state: { 1: task(1, 'before') }, stale: true });
    await asked[1]?.({ 1: task(1, 'after') });
    expect(it.store.getSnapshot()).toMatchObject({ state: { 1: task(1, 'after') }, stale: false });
    it.fake.state({ status: 'reconnecting', open: null });
    it.fake.open('tasks');
    await settle();
    expect(asked).toHaveLength(2);
  });

  test('happens after a gap, and once more where it was under way', async () => {
    const { asked, fetch } = server();
    const it = board({ fetch });
    await settle();
    it.fake.gap('tasks');
    it.fake.gap('others');
    it.fake.gap('tasks');
    await settle();
    expect(asked).toHaveLength(1);
    await asked[0]?.({ 1: task(1) });
    expect(asked).toHaveLength(2);
    await asked[1]?.({ 1: task(1, 'newer') });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked).toHaveLength(2);
    expect(it.titles()).toEqual(['newer']);
  });

  test('happens after an event that cannot be taken, which is reported', async () => {
    const report = vi.fn();
    vi.stubGlobal('reportError', report);
    const { asked, fetch } = server();
    const it = board({
      fetch,
      reduce: () => {
        throw LOST;
      },
    });
    await settle();
    await asked[0]?.({});
    it.saved(task(1));
    await settle();
    expect(report).toHaveBeenCalledExactlyOnceWith(LOST);
    expect(asked).toHaveLength(2);
  });

  test('is not tried again for ever where nobody is there', async () => {
    const fetch = vi.fn(() => Promise.reject(LOST));
    const it = board({ fetch });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(fetch.mock.calls.length).toBeGreaterThan(2);
    it.end();
    await vi.advanceTimersByTimeAsync(1000);
    const tried = fetch.mock.calls.length;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(fetch.mock.calls.length).toBe(tried);
  });

  test('without it, a gap is shown, and the application loads the state', () => {
    const it = board();
    expect(it.store.getSnapshot().stale).toBe(false);
    it.fake.gap('tasks');
    expect(it.store.getSnapshot().stale).toBe(true);
    const load = it.store.load();
    it.saved(task(2));
    load.done({ 1: task(1, 'loaded') });
    expect(it.titles()).toEqual(['loaded', 'task 2']);
    expect(it.store.getSnapshot().stale).toBe(false);
  });

  test('an answer that more events wait for than can be kept is not used', async () => {
    const { asked, fetch } = server();
    const it = board({ fetch });
    await settle();
    for (let n = 0; n <= 10_000; n++) it.saved(task(1, `title ${n}`));
    await asked[0]?.({ 1: task(1, 'older') });
    expect(it.titles()).toEqual(['title 10000']);
    await asked[1]?.({ 1: task(1, 'newer') });
    expect(it.titles()).toEqual(['newer']);
    expect(it.store.getSnapshot().stale).toBe(false);
  });

  test('what was loaded from before a gap does not mend it', () => {
    const it = board();
    const early = it.store.load();
    it.fake.gap('tasks');
    early.done({ 1: task(1, 'early') });
    expect(it.store.getSnapshot()).toMatchObject({ state: { 1: task(1, 'early') }, stale: true });
  });

  test('of two loads the newest counts', () => {
    const it = board();
    const old = it.store.load();
    const newest = it.store.load();
    newest.done({ 1: task(1, 'newest') });
    old.done({ 1: task(1, 'old') });
    expect(it.titles()).toEqual(['newest']);
  });
});

describe('without reduce', () => {
  test('a change stays on top after its event, until the state is loaded', async () => {
    const it = board({ reduce: undefined as never });
    it.rename(1, 'new');
    const tooEarly = it.store.load();
    it.saved(task(1, 'new'), 'own1');
    expect(it.pending()).toEqual(['own1 accepted']);
    tooEarly.done({ 1: task(1) });
    expect(it.titles()).toEqual(['new']);
    it.store.load().done({ 1: task(1, 'new') });
    expect(it.titles()).toEqual(['new']);
    expect(it.pending()).toEqual([]);
  });
});

describe('the snapshot', () => {
  test('is the same until something changes, and then told once', () => {
    const it = board();
    const listener = vi.fn();
    const end = it.store.subscribe(listener);
    const before = it.store.getSnapshot();
    it.fake.event('others', { type: 'task_saved', data: task(1) });
    expect(it.store.getSnapshot()).toBe(before);
    it.fake.event('tasks', { type: 'other' });
    expect(it.store.getSnapshot()).toBe(before);
    it.saved(task(2));
    expect(listener).toHaveBeenCalledExactlyOnceWith(it.store.getSnapshot());
    end();
    it.saved(task(3));
    expect(listener).toHaveBeenCalledTimes(1);
  });

  test('counts an event once that comes by two ways', () => {
    const reduce = vi.fn((state: Tasks) => state);
    const it = board({ reduce });
    it.store.attach(it.fake.connection, 'tasks');
    it.store.attach(it.fake.connection);
    it.saved(task(2));
    expect(reduce).toHaveBeenCalledTimes(1);
  });
});

test('ids of events are random, and need no secure page', async () => {
  const { run } = createOptimistic({ initial: 0 });
  const ids = new Set<string>();
  for (let n = 0; n < 100; n++) {
    await run({
      apply: (state) => state,
      send: async (id) => {
        expect(id).toMatch(/^[0-9a-f]{32}$/);
        ids.add(id);
      },
    });
  }
  expect(ids.size).toBe(100);
});

test('the last that each listener hears of the store is how it is', async () => {
  const store = createOptimistic<number>({ initial: 0 });
  const run = () => store.run({ apply: (n) => n + 1, send: () => new Promise(() => {}) });
  store.subscribe(({ state }) => {
    if (state === 1) run();
  });
  const seen: number[] = [];
  store.subscribe(({ state }) => seen.push(state));
  run();
  expect(seen.at(-1)).toBe(2);
});

test('timeout: Infinity waits', async () => {
  const store = createOptimistic<number>({ initial: 0, timeout: Number.POSITIVE_INFINITY });
  store.run({ apply: (n) => n + 1, send: () => new Promise(() => {}) }).catch(() => {});
  await vi.advanceTimersByTimeAsync(60_000);
  expect(store.getSnapshot().state).toBe(1);
});
