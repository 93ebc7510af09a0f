import { QueryClient, QueryObserver } from '@tanstack/query-core';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type Connection, connect, type Fields } from '../../src/index.js';
import { createOptimistic } from '../../src/optimistic.js';
import { invalidationRules } from '../../src/query.js';
import { until, World } from '../world.js';

interface Events {
  post: Fields<{ action: string; id: string | null }>;
  flush: Fields<object>;
  title: { id: number; title: string };
}

let world: World;
let connection: Connection<Events>;

beforeAll(async () => {
  world = await World.start(1);
});
afterAll(() => world?.close());
afterEach(() => connection?.close());

/** A write of a service: one event. */
async function write(channel: string, payload: object, eventId: string): Promise<void> {
  const answer = await fetch(`${world.url}/v1/channels/${channel}/events?${new URLSearchParams({ eventId })}`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${world.token()}` },
    body: JSON.stringify(payload),
  });
  if (!answer.ok) throw new Error(await answer.text());
}

test('one write is one event with its type and id, and one fetch of what it touches; a flush is one of everything', async () => {
  connection = connect<Events>(world.url, { token: world.token(), minDelay: 50 });
  const events: unknown[] = [];
  connection.on('*', ({ type, ...event }) => events.push([type, 'id' in event ? event.id : undefined]));

  const client = new QueryClient({ defaultOptions: { queries: { staleTime: Number.POSITIVE_INFINITY } } });
  const fetched: Record<string, number> = {};
  const keys = [
    ['posts', 'abc'],
    ['posts', 'xyz'],
    ['posts', 'list'],
    ['users', 'me'],
  ];
  for (const queryKey of keys) {
    const count = () => {
      const name = queryKey.join();
      fetched[name] = (fetched[name] ?? 0) + 1;
      return fetched[name];
    };
    new QueryObserver(client, { queryKey, queryFn: count }).subscribe(() => {});
  }
  const counts = (): unknown[] => keys.map((key) => fetched[key.join()]);
  const become = (...want: number[]) =>
    until(`the fetches are ${want}`, () => counts().join() === want.join() && client.isFetching() === 0);

  const channel = 'small:posts';
  invalidationRules<Events>(client, [
    {
      type: 'post',
      keys: (event) => [
        ['posts', event.id],
        ['posts', 'list'],
      ],
      all: [['posts']],
    },
  ]).attach(connection, channel);
  await become(2, 2, 2, 1); // when the channel has come onto the stream

  const post = { type: 'post', action: 'update', id: 'abc' };
  await write(channel, post, 'write-1');
  await write(channel, post, 'write-1'); // the service did not hear the answer, and tries again
  await become(3, 2, 3, 1);
  await write(channel, { type: 'post', action: 'delete', id: null }, 'write-2');
  await become(4, 3, 4, 1);
  await write(channel, { type: 'flush' }, 'flush-1');
  await become(5, 4, 5, 2);
  expect(events).toEqual([
    ['post', 'abc'],
    ['post', null],
    ['flush', undefined],
  ]);

  // A reconnect that misses nothing fetches nothing.
  const before = connection.state.open?.connection;
  world.cut();
  await until('it is live again', () => !!connection.state.open && connection.state.open.connection !== before);
  await write(channel, { type: 'post', action: 'update', id: 'xyz' }, 'write-3');
  await become(5, 5, 6, 2);
});

test('a change is confirmed by its event, and rolled back where it is refused', async () => {
  connection = connect<Events>(world.url, { token: world.token() });
  const channel = 'room:titles';
  const server: Record<number, string> = { 1: 'one' };
  const store = createOptimistic<Readonly<Record<number, string>>, Events>({
    initial: {},
    fetch: async () => ({ ...server }),
    reduce: (state, event) => (event.type === 'title' ? { ...state, [event.data.id]: event.data.title } : state),
  });
  const states: string[] = [];
  store.subscribe(({ state, pending }) => {
    states.push(`${Object.values(state)} ${pending.map(({ status }) => status)}`.trim());
  });
  store.attach(connection, channel);
  await until('the channel is on the stream, and the state fetched', () => {
    const { stale, state } = store.getSnapshot();
    return connection.state.status === 'live' && !stale && state[1] === 'one';
  });
  const rename = (title: string, send: (eventId: string) => Promise<void>) =>
    store.run({ apply: (state) => ({ ...state, 1: title }), send });

  // The answer never comes, and the event does.
  await rename('uno', (eventId) => {
    server[1] = 'uno';
    return write(channel, { type: 'title', data: { id: 1, title: 'uno' } }, eventId).then(() => new Promise(() => {}));
  });
  expect(store.getSnapshot()).toMatchObject({ state: { 1: 'uno' }, pending: [] });

  let refuse = (_: Error): void => {};
  const refused = rename('', () => new Promise((_, reject) => (refuse = reject)));
  await write(channel, { type: 'title', data: { id: 2, title: 'two' } }, 'somebody-else');
  await until('the other event is there', () => store.getSnapshot().state[2] === 'two');
  expect(store.getSnapshot().state).toEqual({ 1: '', 2: 'two' });
  refuse(new Error('a title is needed'));
  await expect(refused).rejects.toThrow('a title is needed');
  expect(store.getSnapshot().state).toEqual({ 1: 'uno', 2: 'two' });
  expect(states.slice(states.indexOf('uno sending')).filter((state) => state.startsWith('one'))).toEqual([]);
});
