import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type Connection, type ConnectOptions, connect, type Gap, type GatewayError } from '../../src/index.js';
import { until, World } from '../world.js';

interface Events {
  n: number;
}

let world: World;
const open: Connection<Events>[] = [];
const seen = new Map<string, number[]>();
let gaps: Gap[] = [];
let errors: GatewayError[] = [];

beforeAll(async () => {
  world = await World.start(2);
});
afterAll(() => world?.close());

afterEach(async () => {
  for (const connection of open.splice(0)) connection.close();
  seen.clear();
  gaps = [];
  errors = [];
  await until('all streams are gone', async () => (await world.connections()) === 0);
});

/** Connects through the balancer, and notes what comes. */
function start(options: ConnectOptions, url = world.url): Connection<Events> {
  const connection = connect<Events>(url, { token: world.token(), minDelay: 50, ...options });
  open.push(connection);
  connection.onGap((gap) => gaps.push(gap));
  connection.onError((error) => errors.push(error));
  connection.on('n', ({ channel, data }) => seen.set(channel, [...(seen.get(channel) ?? []), data]));
  return connection;
}

const live = (connection: Connection<Events>) =>
  until('the connection is live', () => connection.state.status === 'live');
const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);
const all = (channel: string, count: number) =>
  until(`${channel} has ${count} events`, () => (seen.get(channel)?.length ?? 0) >= count);

async function publish(
  channel: string,
  from: number,
  to: number,
  between = async (_: number): Promise<void> => {},
): Promise<void> {
  for (let n = from; n <= to; n++) {
    await world.publish(channel, n);
    await between(n);
  }
}

test('every event comes once and in order, though replicas are killed and drained and connections cut', async () => {
  const connection = start({ channels: ['room:kill'] });
  await live(connection);
  await publish('room:kill', 1, 200, async (n) => {
    const [one, two] = world.replicas;
    if (n === 40) await one?.end('SIGKILL');
    if (n === 80) {
      await one?.start();
      await two?.end('SIGTERM');
    }
    if (n === 120) await two?.start();
    if (n % 50 === 0) world.cut();
  });
  await all('room:kill', 200);
  expect(seen.get('room:kill')).toEqual(upTo(200));
  expect(gaps).toEqual([]);
  expect(errors.filter(({ kind }) => kind === 'application')).toEqual([]);
});

test('a cursor continues in another connection, and says what is gone', async () => {
  const [one, two] = world.replicas;
  const first = start({ channels: ['room:cursor', 'small:cursor'] }, one?.url);
  await live(first);
  await publish('room:cursor', 1, 1);
  await all('room:cursor', 1);
  const { cursor } = first;
  first.close();
  await publish('room:cursor', 2, 5);
  await publish('small:cursor', 1, 300);
  // The first replica may still have them all in its memory.
  start({ channels: ['room:cursor', 'small:cursor'], cursor }, two?.url);
  await all('room:cursor', 5);
  expect(seen.get('room:cursor')).toEqual(upTo(5));
  await until('the gap is told', () => gaps.length > 0);
  expect(gaps).toMatchObject([{ channel: 'small:cursor', reason: 'trimmed' }]);
});

test('channels come and go under traffic, and the others lose nothing', async () => {
  const connection = start({ channels: ['room:a'] });
  await live(connection);
  let stop = false;
  const published = { 'room:a': 0, 'room:b': 0 };
  const traffic = (async () => {
    while (!stop) {
      for (const channel of ['room:a', 'room:b'] as const) await world.publish(channel, ++published[channel]);
    }
  })();
  const off = connection.channel('room:b').subscribe();
  await all('room:b', 1);
  for (let i = 0; i < 20; i++) {
    const end = connection.channel(`room:${i}`).subscribe();
    await all('room:a', (seen.get('room:a')?.length ?? 0) + 3);
    if (i % 2) end();
  }
  off();
  stop = true;
  await traffic;
  await all('room:a', published['room:a']);
  expect(seen.get('room:a')).toEqual(upTo(published['room:a']));
  const b = seen.get('room:b') ?? [];
  expect(b).toEqual(b.map((_, i) => (b[0] ?? 0) + i));
  expect([gaps, errors]).toEqual([[], []]);
});

test('a token is renewed when it ends, and nothing is lost by it', async () => {
  let asked = 0;
  const connection = start({
    channels: ['room:token'],
    token: ({ refresh }) => {
      asked++;
      return world.token(['**'], refresh ? 60 : 2);
    },
  });
  await live(connection);
  let n = 0;
  while (asked < 2) await publish('room:token', ++n, n);
  await live(connection);
  await publish('room:token', ++n, n);
  await all('room:token', n);
  expect(seen.get('room:token')).toEqual(upTo(n));
  expect([gaps, errors]).toEqual([[], []]);
});

test('a bad token is refused for good, with the words of the gateway', async () => {
  const connection = start({ channels: ['room:x'], token: 'nonsense' });
  await until('it is closed', () => connection.state.status === 'closed');
  expect(connection.state.error).toMatchObject({ kind: 'application', code: 'unauthorized', status: 401 });
  expect(connection.state.error?.problem?.detail).toBeTruthy();
});

test('a forbidden channel is left out', async () => {
  const connection = start({ channels: ['room:mine', 'room:theirs'], token: world.token(['room:mine']) });
  await live(connection);
  expect(errors).toMatchObject([{ code: 'forbidden', channel: 'room:theirs', status: 403 }]);
  await publish('room:mine', 1, 1);
  await all('room:mine', 1);
});

test('more channels than a URL holds', async () => {
  const connection = start({ channels: Array.from({ length: 150 }, (_, i) => `room:many-channels-${i}`) });
  await live(connection);
  await publish('room:many-channels-149', 1, 1);
  await all('room:many-channels-149', 1);
  world.cut();
  await publish('room:many-channels-0', 1, 1);
  await all('room:many-channels-0', 1);
});

test('polls lose nothing either', async () => {
  const connection = start({ channels: ['room:poll', 'room:poll2'], transport: 'poll' });
  await until('the gateway has the poll', async () => (await world.connections()) === 1);
  await publish('room:poll', 1, 1);
  await all('room:poll', 1);
  expect(connection.state.status).toBe('live');
  await publish('room:poll', 2, 60, async (n) => {
    if (n % 20 === 0) world.cut();
    if (n === 30) connection.channel('room:poll3').subscribe();
  });
  await all('room:poll', 60);
  expect(seen.get('room:poll')).toEqual(upTo(60));
});

test('a channel without history says that it was interrupted', async () => {
  const connection = start({ channels: ['plain:x'] });
  await live(connection);
  world.cut();
  await until('the gap is told', () => gaps.length > 0);
  expect(gaps).toMatchObject([{ channel: 'plain:x', reason: 'no_history' }]);
});

test('for await, and an AbortSignal that ends it', async () => {
  const abort = new AbortController();
  const connection = start({ channels: ['room:await'], signal: abort.signal });
  await live(connection);
  const got: number[] = [];
  const loop = (async () => {
    for await (const event of connection) {
      got.push(event.data);
      if (got.length === 3) abort.abort();
    }
  })();
  await publish('room:await', 1, 3);
  await loop;
  expect(got).toEqual([1, 2, 3]);
});
