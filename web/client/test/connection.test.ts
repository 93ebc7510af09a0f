import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  ApplicationError,
  type Connection,
  type ConnectionState,
  type ConnectOptions,
  connect,
  type Gap,
  type GatewayError,
} from '../src/index.js';
import { FakeGateway, pass } from './fake.js';

type Events = { t: number };

const URL_ = 'http://gateway.test';

let gateway: FakeGateway;
let connection: Connection<Events>;
let states: ConnectionState[];
let errors: GatewayError[];
let gaps: Gap[];
let got: string[];

/** Connects, and notes everything that it says. */
function start(options: ConnectOptions = {}): void {
  connection = connect<Events>(URL_, { fetch: gateway.fetch, channels: ['a'], ...options });
  connection.onState((state) => states.push(state));
  connection.onError((error) => errors.push(error));
  connection.onGap((gap) => gaps.push(gap));
  connection.on('*', (event) => got.push(`${event.channel}${event.data}`));
}

const statuses = (): string[] => states.map(({ status, reason }) => (reason ? `${status}: ${reason}` : status));

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
  gateway = new FakeGateway();
  states = [];
  errors = [];
  gaps = [];
  got = [];
});

afterEach(() => {
  connection.close();
  expect(vi.getTimerCount(), 'timers after close').toBe(0);
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

describe('a connection', () => {
  test('delivers events and keeps the cursor', async () => {
    start({ channels: ['a', 'b'] });
    expect(connection.state.status).toBe('connecting');
    const request = await gateway.request(1);
    expect(request.url.href).toBe(`${URL_}/v1/events?channel=a&channel=b`);
    expect(request.cursor).toBe('');
    await request.open({ id: 'c0' });
    expect(connection.state).toMatchObject({ status: 'live', reason: '', open: { connection: 'k1', replica: 'r1' } });
    expect(connection.cursor).toBe('c0');
    await request.event('a', 1);
    await request.event('b', 2);
    expect(got).toEqual(['a1', 'b2']);
    expect(connection.cursor).toBe('c2');
    expect(errors).toEqual([]);
  });

  test('continues at the cursor when the stream breaks off', async () => {
    start();
    await (await (await gateway.request(1)).open({ retry: 700 })).event('a', 1);
    await pass(10_000);
    await gateway.requests[0]?.end();
    expect(connection.state).toMatchObject({
      status: 'reconnecting',
      reason: 'ended',
      attempt: 0,
      retryAt: Date.now() + 700,
    });
    expect(connection.state.error).toMatchObject({ kind: 'transport', code: 'ended' });
    await pass(699);
    await gateway.request(1);
    await pass(1);
    const second = await gateway.request(2);
    expect(second.cursor).toBe('c1');
    await second.open({ id: 'c1' });
    await second.event('a', 2);
    expect(got).toEqual(['a1', 'a2']);
    expect(statuses()).toEqual(['live', 'reconnecting: ended', 'reconnecting: ended', 'live']);
  });

  test('never gives up, waits longer and longer, up to a limit', async () => {
    start();
    const waits: number[] = [];
    for (let n = 1; n <= 12; n++) {
      await (await gateway.request(n)).fail();
      expect(connection.state).toMatchObject({ status: 'reconnecting', reason: 'network', attempt: n });
      const wait = Number(connection.state.retryAt) - Date.now();
      waits.push(wait);
      await pass(wait);
    }
    expect(waits).toEqual([250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000, 15_000, 15_000, 15_000]);
    expect(new Set(errors.map((error) => error.code))).toEqual(new Set(['network']));
  });

  test('waits a random part of that', async () => {
    vi.mocked(Math.random).mockReturnValue(0);
    start();
    await (await gateway.request(1)).fail();
    await gateway.request(2);
  });

  test('gives up after maxAttempts', async () => {
    start({ maxAttempts: 2 });
    await (await gateway.request(1)).fail();
    await pass(250);
    await (await gateway.request(2)).fail();
    expect(connection.state).toMatchObject({
      status: 'closed',
      reason: 'attempts',
      error: { kind: 'application', code: 'attempts' },
    });
    await pass(100_000);
    await gateway.request(2);
  });

  test('comes back when gateway.close says', async () => {
    start();
    await (await (await gateway.request(1)).open()).close('draining', { retry: 3210 });
    expect(connection.state).toMatchObject({
      status: 'reconnecting',
      reason: 'draining',
      error: null,
      retryAt: Date.now() + 3210,
    });
    expect(errors).toEqual([]);
    await pass(3210);
    await gateway.request(2);
  });

  test('is not in a hurry where streams end at once', async () => {
    start();
    for (let n = 1; n <= 3; n++) {
      await (await (await gateway.request(n)).open()).end();
      await pass(Number(connection.state.retryAt) - Date.now());
    }
    expect(states.filter(({ retryAt }) => retryAt).map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
  });

  test('waits as long as an answer says', async () => {
    start();
    await (await gateway.request(1)).json(503, {}, { 'Retry-After': '7' });
    expect(connection.state).toMatchObject({ status: 'reconnecting', reason: 'http', retryAt: Date.now() + 7000 });
    expect(errors[0]).toMatchObject({ kind: 'transport', status: 503 });
  });

  test('ends a stream on which not even heartbeats come, and none on which they do', async () => {
    start();
    const request = await (await gateway.request(1)).open({ heartbeat: 10_000 });
    await pass(24_000);
    await request.raw(':\n\n');
    await pass(24_000);
    expect(connection.state.status).toBe('live');
    await pass(1_000);
    expect(request.aborted).toBe(true);
    expect(errors).toMatchObject([{ code: 'silent' }]);
    await pass(1);
    expect((await gateway.request(2)).cursor).toBe('c0');
  });

  test('does not wait for ever for an answer', async () => {
    start({ transport: 'fetch' });
    const request = await (await gateway.request(1)).begin();
    await pass(10_000);
    expect(request.aborted).toBe(true);
    expect(errors).toMatchObject([{ code: 'timeout' }]);
  });

  test.each([
    [400, 'malformed'],
    [401, 'unauthorized'],
    [403, 'forbidden'],
    [404, 'refused'],
  ])('ends with %i', async (status, code) => {
    start();
    await (await gateway.request(1)).problem(status, 'no, because');
    expect(connection.state).toMatchObject({ status: 'closed', reason: code, retryAt: null });
    const [error] = errors;
    expect(error).toBe(connection.state.error);
    expect(error).toBeInstanceOf(ApplicationError);
    expect(error).toMatchObject({
      kind: 'application',
      code,
      status,
      message: 'no, because',
      problem: { detail: 'no, because' },
    });
    await pass(1_000_000);
    await gateway.request(1);
  });

  test.each([
    [403, 'text/html'],
    [502, 'text/html'],
    [429, 'application/problem+json'],
    [408, 'application/problem+json'],
    [503, 'application/problem+json'],
  ])('goes on after %i of type %s', async (status, type) => {
    start();
    await (await gateway.request(1)).json(status, {}, { 'Content-Type': type });
    expect(connection.state).toMatchObject({
      status: 'reconnecting',
      reason: 'http',
      error: { kind: 'transport', status },
    });
  });

  test('goes on after a page that is no stream', async () => {
    start();
    await (await gateway.request(1)).json(200, {}, { 'Content-Type': 'text/html' });
    expect(connection.state).toMatchObject({ status: 'reconnecting', reason: 'protocol' });
  });

  test('ends when the right is taken back', async () => {
    start();
    await (await (await gateway.request(1)).open()).close('signed out', { reconnect: false });
    expect(connection.state).toMatchObject({
      status: 'closed',
      reason: 'signed out',
      error: { code: 'revoked', reason: 'signed out' },
    });
  });

  test('tells gaps, and no more of a channel without history than that it was interrupted', async () => {
    start({ channels: ['a', 'b'] });
    const first = await (await gateway.request(1)).open({ plain: ['b'] });
    await first.send('gateway.gap', { channel: 'a', reason: 'trimmed', from: '1-0', to: '2-0', count: 3 }, 'c5');
    expect(gaps).toEqual([{ channel: 'a', reason: 'trimmed', from: '1-0', to: '2-0', count: 3 }]);
    expect(connection.cursor).toBe('c5');
    await first.end();
    await pass(1000);
    await (await gateway.request(2)).open({ plain: ['b'] });
    expect(gaps.slice(1)).toEqual([{ channel: 'b', reason: 'no_history', from: '', to: '' }]);
  });

  test('starts at the cursor that it is given', async () => {
    start({ cursor: 'c9', lastN: 5, maxAge: '10m' });
    const request = await gateway.request(1);
    expect(request.cursor).toBe('c9');
    expect(request.url.search).toBe('?channel=a&lastN=5&maxAge=10m');
  });

  test('uses POST for what is too long for a URL', async () => {
    const channels = Array.from({ length: 100 }, (_, i) => `project:${i}:tasks`);
    start({ channels, cursor: 'c9' });
    const request = await gateway.request(1);
    expect([request.method, request.url.href, request.channels.length, request.cursor]).toEqual([
      'POST',
      `${URL_}/v1/events`,
      100,
      'c9',
    ]);
  });

  test.each([
    ['http://x/', 'http://x/v1/events'],
    ['http://x/rt/', 'http://x/rt/v1/events'],
    ['http://x/rt/v1/events', 'http://x/rt/v1/events'],
  ])('%s is asked at %s', async (url, want) => {
    connection = connect(url, { fetch: gateway.fetch, autoSubscribe: true });
    expect((await gateway.request(1)).url.href).toBe(want);
  });

  test('refuses what cannot be a channel or URL at once', () => {
    start({ channels: [] });
    for (const name of ['', 'a b', 'a::b', ':a', 'a:', 'ä', 'x'.repeat(256)]) {
      expect(() => connect(URL_, { channels: [name] }), name).toThrow(TypeError);
      expect(() => connection.channel(name), name).toThrow(TypeError);
    }
    expect(() => connect('/v1/events')).toThrow(TypeError);
  });

  test('asks another address where the URL is a function', async () => {
    const urls = ['http://one.test', 'http://two.test'];
    connection = connect(() => urls.shift() ?? '', { fetch: gateway.fetch, channels: ['a'] });
    expect((await gateway.request(1)).url.host).toBe('one.test');
    await gateway.requests[0]?.fail();
    await pass(250);
    expect((await gateway.request(2)).url.host).toBe('two.test');
  });

  test('reconnect() does not wait, and opens again what was refused', async () => {
    start();
    await (await gateway.request(1)).problem(401, 'no');
    connection.reconnect();
    expect(connection.state).toMatchObject({ status: 'reconnecting', reason: 'reconnect' });
    await (await gateway.request(2)).open();
    expect(connection.state.status).toBe('live');
  });

  test('close() ends everything and may be called twice', async () => {
    start();
    const request = await (await gateway.request(1)).open();
    connection.close();
    connection.close();
    expect(request.aborted).toBe(true);
    expect(connection.state).toMatchObject({ status: 'closed', reason: 'close', error: null });
    connection.reconnect();
    connection.channel('b').subscribe();
    await pass(100_000);
    await gateway.request(1);
    expect(states.filter(({ status }) => status === 'closed')).toHaveLength(1);
  });

  test('an AbortSignal closes it, also before it began', async () => {
    const abort = new AbortController();
    start({ signal: abort.signal });
    const request = await (await gateway.request(1)).open();
    abort.abort();
    expect(request.aborted).toBe(true);
    expect(connection.state.status).toBe('closed');
    const other = connect(URL_, { fetch: gateway.fetch, channels: ['a'], signal: abort.signal });
    expect(other.state.status).toBe('closed');
    await gateway.request(1);
  });

  test('its state is the same object until it changes', async () => {
    start();
    const { onState } = connection;
    const listener = vi.fn();
    const off = onState(listener);
    const before = connection.state;
    expect(connection.state).toBe(before);
    const request = await (await gateway.request(1)).open();
    expect(connection.state).not.toBe(before);
    expect(listener).toHaveBeenCalledExactlyOnceWith(connection.state);
    off();
    off();
    await request.end();
    expect(listener).toHaveBeenCalledTimes(1);
  });

  test('what a handler throws disturbs nobody', async () => {
    const report = vi.fn();
    vi.stubGlobal('reportError', report);
    start();
    connection.channel('a').on('t', () => {
      throw new Error('mine');
    });
    const request = await (await gateway.request(1)).open();
    await request.event('a', 1);
    await request.event('a', 2);
    expect(got).toEqual(['a1', 'a2']);
    expect(report).toHaveBeenCalledTimes(2);
    expect(connection.state.status).toBe('live');
  });
});

describe('a token', () => {
  test('is asked for before every attempt', async () => {
    const asked: boolean[] = [];
    start({
      token: async ({ refresh }) => {
        asked.push(refresh);
        return `t${asked.length}`;
      },
    });
    expect((await gateway.request(1)).token).toBe('t1');
    await gateway.requests[0]?.fail();
    await pass(250);
    expect((await gateway.request(2)).token).toBe('t2');
    expect(asked).toEqual([false, false]);
    expect(gateway.requests[1]?.credentials).toBe('same-origin');
  });

  test('that is refused is asked for once more', async () => {
    const token = vi.fn(({ refresh }: { refresh: boolean }) => (refresh ? 'new' : 'old'));
    start({ token });
    await (await gateway.request(1)).problem(401, 'expired');
    const second = await gateway.request(2);
    expect(second.token).toBe('new');
    expect(errors).toEqual([]);
    await second.open();
    expect(connection.state.status).toBe('live');
    await second.end();
    await pass(1000);
    await (await gateway.request(3)).problem(401, 'expired');
    await (await gateway.request(4)).problem(401, 'still');
    expect(connection.state).toMatchObject({ status: 'closed', error: { code: 'unauthorized', message: 'still' } });
  });

  test('that expires is asked for at once, and the stream goes on', async () => {
    const token = vi.fn(({ refresh }: { refresh: boolean }) => (refresh ? 'new' : 'old'));
    start({ token });
    await (await (await (await gateway.request(1)).open()).event('a', 1)).close('token_expired', { retry: 60_000 });
    const second = await gateway.request(2);
    expect([second.token, second.cursor]).toEqual(['new', 'c1']);
  });

  test('that cannot be had is an attempt that failed', async () => {
    let online = false;
    start({
      token: () => {
        if (!online) throw new Error('no network');
        return 't';
      },
    });
    await pass(0);
    expect(gateway.requests).toEqual([]);
    expect(connection.state).toMatchObject({
      status: 'reconnecting',
      reason: 'token',
      error: { kind: 'transport', code: 'token' },
    });
    online = true;
    await pass(250);
    await gateway.request(1);
  });

  test('without it, cookies are sent', async () => {
    start();
    expect((await gateway.request(1)).credentials).toBe('include');
  });
});

describe('channels', () => {
  test('are subscribed while they have handlers', async () => {
    start({ channels: [] });
    await pass(0);
    expect(connection.state).toMatchObject({ status: 'connecting', reason: 'no_channels' });
    const seen: number[] = [];
    const off = connection.channel('b').on('t', (event) => seen.push(event.data));
    const offGap = connection.channel('b').onGap(() => {});
    expect(connection.channels).toEqual(['b']);
    const request = await (await gateway.request(1)).open();
    expect(request.channels).toEqual(['b']);
    await request.event('b', 1);
    off();
    off();
    expect(connection.channels).toEqual(['b']);
    await request.event('b', 2);
    offGap();
    expect(connection.channels).toEqual([]);
    await request.event('b', 3);
    expect(seen).toEqual([1]);
    expect(got).toEqual(['b1', 'b2']);
    await pass(1000);
    expect(request.aborted).toBe(true);
    expect(connection.state).toMatchObject({ status: 'connecting', reason: 'no_channels' });
    await gateway.request(1);
  });

  test('of one moment make one request, and the old stream lasts until the new one is open', async () => {
    start();
    const first = await (await gateway.request(1)).open();
    await first.event('a', 1);
    const channel = connection.channel('b');
    for (const name of ['b', 'c', 'd']) connection.channel(name).subscribe();
    await pass(20);
    const second = await gateway.request(2);
    expect(channel.open).toBe(false);
    expect([second.channels, second.cursor]).toEqual([['a', 'b', 'c', 'd'], 'c1']);
    expect(first.aborted).toBe(false);
    await first.event('a', 2); // the new one has it too
    expect(got).toEqual(['a1']);
    await second.open({ id: 'c1' });
    expect(channel.open).toBe(true);
    expect(first.aborted).toBe(true);
    await second.event('a', 2);
    await second.event('b', 3);
    expect(got).toEqual(['a1', 'a2', 'b3']);
    expect(new Set(statuses())).toEqual(new Set(['live']));
    expect(gaps).toEqual([]);
  });

  test('that nobody wants any more go later, and one that comes back at once costs nothing', async () => {
    start();
    const off = connection.channel('b').subscribe();
    await (await gateway.request(1)).open();
    off();
    await pass(500);
    connection.channel('b').subscribe()();
    await pass(499);
    await gateway.request(1);
    await pass(1);
    expect((await gateway.request(2)).channels).toEqual(['a']);
  });

  test('StrictMode: mounted, unmounted and mounted is one request', async () => {
    start({ channels: [] });
    connection.channel('b').subscribe()();
    connection.channel('b').subscribe();
    await (await gateway.request(1)).open();
    await pass(5000);
    await gateway.request(1);
  });

  test('without history: what comes while the streams change over comes once', async () => {
    start({ channels: ['a', 'p'] });
    const first = await (await gateway.request(1)).open({ plain: ['p'] });
    connection.channel('b').subscribe();
    await pass(20);
    const second = await gateway.request(2);
    await first.event('a', 1);
    await first.event('p', 2);
    await first.event('p', 3);
    expect(got).toEqual(['p2', 'p3']);
    expect(connection.cursor).toBe('c0'); // a1 is not delivered yet
    await second.open({ plain: ['p'] });
    await second.event('a', 1);
    await second.event('p', 3);
    await second.event('p', 4);
    expect(got).toEqual(['p2', 'p3', 'a1', 'p4']);
    expect(gaps).toEqual([]);
  });

  test('a change that fails leaves the stream as it was', async () => {
    start();
    const first = await (await gateway.request(1)).open();
    connection.channel('b').subscribe();
    await pass(20);
    await first.event('a', 1);
    await (await gateway.request(2)).fail();
    expect(got).toEqual(['a1']);
    await first.event('a', 2);
    expect(got).toEqual(['a1', 'a2']);
    expect(connection.state.status).toBe('live');
    await pass(250);
    const third = await gateway.request(3);
    expect([third.channels, third.cursor]).toEqual([['a', 'b'], 'c2']);
  });

  test('a change that is put off is tried again when the gateway says', async () => {
    start();
    const first = await (await gateway.request(1)).open();
    connection.channel('b').subscribe();
    await pass(20);
    await (await gateway.request(2)).begin();
    await first.event('a', 1);
    await gateway.requests[1]?.close('full', { retry: 5000 });
    expect(got).toEqual(['a1']);
    expect(connection.state.status).toBe('live');
    await pass(4999);
    await gateway.request(2);
    await pass(1);
    expect((await gateway.request(3)).channels).toEqual(['a', 'b']);
  });

  test('a change that is not answered holds events back for two seconds at most', async () => {
    start();
    const first = await (await gateway.request(1)).open();
    connection.channel('b').subscribe();
    await pass(20);
    await first.event('a', 1);
    await pass(1999);
    expect(got).toEqual([]);
    await pass(1);
    expect(got).toEqual(['a1']);
    expect(gateway.requests[1]?.aborted).toBe(true);
  });

  test('the stream ends while it is changed over: the new one goes on from the same place', async () => {
    start();
    const first = await (await gateway.request(1)).open();
    connection.channel('b').subscribe();
    await pass(20);
    await first.event('a', 1);
    await first.close('draining');
    expect(connection.state.status).toBe('reconnecting');
    const second = await gateway.request(2);
    await second.open({ id: 'c0' });
    await second.event('a', 1);
    expect(got).toEqual(['a1']);
    expect(connection.state.status).toBe('live');
  });

  test('both end: what was held comes again', async () => {
    start();
    const first = await (await gateway.request(1)).open();
    connection.channel('b').subscribe();
    await pass(20);
    await first.event('a', 1);
    await first.end();
    await (await gateway.request(2)).fail();
    expect(got).toEqual([]);
    await pass(5000);
    expect((await gateway.request(3)).cursor).toBe('c0');
  });

  test('one that is forbidden is left out, and the others go on', async () => {
    start({ channels: ['a', 'b'] });
    await (await gateway.request(1)).problem(403, 'channel "b" is not allowed to you', { channel: 'b' });
    const second = await gateway.request(2);
    expect(second.channels).toEqual(['a']);
    await second.open();
    expect(errors).toMatchObject([{ kind: 'application', code: 'forbidden', channel: 'b', status: 403 }]);
    await pass(10_000);
    await gateway.request(2);
    connection.channel('b').subscribe();
    await pass(20);
    expect((await gateway.request(3)).channels).toEqual(['a', 'b']);
  });

  test('one that is added and forbidden does not touch the stream', async () => {
    start();
    const first = await (await gateway.request(1)).open();
    connection.channel('b').subscribe();
    await pass(20);
    await (await gateway.request(2)).problem(403, 'no', { channel: 'b' });
    await first.event('a', 1);
    await pass(5000);
    await gateway.request(2);
    expect(got).toEqual(['a1']);
    expect(connection.state.status).toBe('live');
    expect(errors).toMatchObject([{ code: 'forbidden', channel: 'b' }]);
  });

  test('one that is lost is told, and not asked for again', async () => {
    start({ channels: ['a', 'b'] });
    const first = await (await gateway.request(1)).open();
    await first.send('gateway.error', { channel: 'b', reason: 'left the project' });
    expect(errors).toMatchObject([
      { kind: 'application', code: 'channel_lost', channel: 'b', reason: 'left the project' },
    ]);
    await pass(6000);
    await gateway.request(1);
    await first.end();
    await pass(1000);
    expect((await gateway.request(2)).channels).toEqual(['a']);
  });

  test('the last one lost closes the connection', async () => {
    start();
    await (await (await gateway.request(1)).open()).send('gateway.error', { channel: 'a', reason: 'revoked' });
    expect(connection.state).toMatchObject({ status: 'closed', reason: 'channel_lost', error: { channel: 'a' } });
    await pass(60_000);
    await gateway.request(1);
  });

  test('that the gateway joins by itself are delivered, and need no request when they get a handler', async () => {
    start({ channels: [], autoSubscribe: true });
    const request = await (await gateway.request(1)).open({ joined: ['user:alice'] });
    expect(request.url.search).toBe('');
    connection.channel('user:alice').on('t', (event) => got.push(`handler ${event.data}`));
    await pass(5000);
    await request.event('user:alice', 1);
    await gateway.request(1);
    expect(got).toEqual(['user:alice1', 'handler 1']);
  });

  test('an unsubscription after a refusal does not knock again', async () => {
    start();
    const off = connection.channel('b').subscribe();
    await (await gateway.request(1)).problem(401, 'no');
    off();
    await pass(10_000);
    await gateway.request(1);
  });
});

describe('for await', () => {
  test('takes what comes, and ends with the connection', async () => {
    start();
    const seen: number[] = [];
    const loop = (async () => {
      for await (const event of connection.channel('a')) seen.push(event.data);
    })();
    const request = await (await gateway.request(1)).open();
    for (let n = 1; n <= 5; n++) await request.event('a', n);
    connection.close();
    await loop;
    expect(seen).toEqual([1, 2, 3, 4, 5]);
  });

  test('throws where the end is a refusal', async () => {
    start();
    const next = connection[Symbol.asyncIterator]().next();
    const thrown = expect(next).rejects.toMatchObject({ code: 'unauthorized' });
    await (await gateway.request(1)).problem(401, 'no');
    await thrown;
  });

  test('throws when it is too slow, after what it has', async () => {
    start({ iteratorBuffer: 2 });
    const events = connection.channel('b')[Symbol.asyncIterator]();
    const request = await (await gateway.request(1)).open();
    for (let n = 1; n <= 3; n++) await request.event('b', n);
    expect((await events.next()).value).toMatchObject({ data: 1 });
    expect((await events.next()).value).toMatchObject({ data: 2 });
    await expect(events.next()).rejects.toMatchObject({ code: 'overflow' });
    expect((await events.next()).done).toBe(true);
    expect(connection.channels).toEqual(['a']);
    expect(connection.state.status).toBe('live');
  });

  test('a break ends the subscription', async () => {
    start({ channels: [] });
    const loop = (async () => {
      for await (const event of connection.channel('b')) if (event.data === 1) break;
    })();
    const request = await (await gateway.request(1)).open();
    expect(connection.channels).toEqual(['b']);
    await request.event('b', 1);
    await loop;
    expect(connection.channels).toEqual([]);
  });
});

describe('a page', () => {
  let page: EventTarget;
  let view: EventTarget & { visibilityState?: string };
  let online: boolean;

  beforeEach(() => {
    page = new EventTarget();
    view = new EventTarget();
    view.visibilityState = 'visible';
    online = true;
    vi.stubGlobal('addEventListener', page.addEventListener.bind(page));
    vi.stubGlobal('removeEventListener', page.removeEventListener.bind(page));
    vi.stubGlobal('document', view);
    vi.stubGlobal('navigator', {
      get onLine() {
        return online;
      },
    });
  });

  test('that is offline says so, tries all the same, and comes back at once', async () => {
    start();
    await (await gateway.request(1)).open();
    online = false;
    page.dispatchEvent(new Event('offline'));
    expect(connection.state.status).toBe('offline');
    await (await gateway.request(2)).fail();
    expect(connection.state).toMatchObject({ status: 'offline', reason: 'network' });
    expect(connection.state.retryAt).not.toBeNull();
    online = true;
    page.dispatchEvent(new Event('online'));
    const third = await gateway.request(3);
    expect(third.cursor).toBe('c0');
    await third.open();
    expect(connection.state.status).toBe('live');
  });

  test('on another network opens a new stream beside the one that may hang', async () => {
    start();
    const first = await (await gateway.request(1)).open();
    page.dispatchEvent(new Event('online'));
    await (await gateway.request(2)).open();
    expect(first.aborted).toBe(true);
    expect(statuses()).not.toContain('reconnecting');
  });

  test('that is looked at again does not wait', async () => {
    start();
    for (let n = 1; n <= 8; n++) {
      await (await gateway.request(n)).fail();
      if (n < 8) await pass(Number(connection.state.retryAt) - Date.now());
    }
    view.visibilityState = 'hidden';
    view.dispatchEvent(new Event('visibilitychange'));
    await gateway.request(8);
    view.visibilityState = 'visible';
    view.dispatchEvent(new Event('visibilitychange'));
    await gateway.request(9);
  });

  test('that slept asks anew where a heartbeat is overdue', async () => {
    start();
    const first = await (await gateway.request(1)).open({ heartbeat: 10_000 });
    view.dispatchEvent(new Event('visibilitychange'));
    await gateway.request(1);
    await pass(10_001);
    view.dispatchEvent(new Event('visibilitychange'));
    await (await gateway.request(2)).open();
    expect(first.aborted).toBe(true);
  });

  test('that comes back from the cache connects again', async () => {
    start();
    await (await (await gateway.request(1)).open()).event('a', 1);
    page.dispatchEvent(Object.assign(new Event('pageshow'), { persisted: true }));
    expect((await gateway.request(2)).cursor).toBe('c1');
  });
});

describe('polling', () => {
  test('asks again with each cursor', async () => {
    start({ transport: 'poll' });
    const first = await gateway.request(1);
    expect(first.url.search).toBe('?channel=a&mode=poll');
    const event = (n: number) => ({ channel: 'a', event_id: `e${n}`, type: 't', timestamp: 'T', data: n });
    await first.json(200, {
      events: [event(1), event(2)],
      gaps: [{ channel: 'a', reason: 'trimmed', from: '', to: '' }],
      cursor: 'c2',
    });
    expect(got).toEqual(['a1', 'a2']);
    expect(gaps).toHaveLength(1);
    expect(connection.state.status).toBe('live');
    const second = await gateway.request(2);
    expect(second.cursor).toBe('c2');
    await pass(25_000);
    await second.json(200, { events: [], gaps: [], cursor: 'c2' });
    const third = await gateway.request(3);
    await third.json(503, {}, { 'Retry-After': '2' });
    expect(connection.state).toMatchObject({ status: 'reconnecting', retryAt: Date.now() + 2000 });
    await pass(2000);
    expect((await gateway.request(4)).cursor).toBe('c2');
  });

  test('is tried where streams stay mute, and streams again later', async () => {
    start();
    await (await gateway.request(1)).begin();
    await pass(10_000 + 250);
    await (await gateway.request(2)).begin();
    await pass(10_000 + 500);
    const third = await gateway.request(3);
    expect(third.url.searchParams.get('mode')).toBe('poll');
    await third.json(200, { events: [], gaps: [], cursor: 'c7' });
    expect(connection.state.status).toBe('live');
    for (let n = 4; n < 16; n++) {
      await pass(24_999);
      await (await gateway.request(n)).json(200, { events: [], gaps: [], cursor: 'c7' });
    }
    await gateway.request(16);
    await pass(300_000 - 12 * 24_999);
    const stream = await gateway.request(17);
    expect([stream.url.searchParams.get('mode'), stream.cursor]).toEqual([null, 'c7']);
    await stream.open();
    expect(gateway.requests[15]?.aborted).toBe(true);
    expect(connection.state).toMatchObject({ status: 'live', open: { connection: 'k1' } });
  });
});

describe('what is meant to break it', () => {
  test.each([
    ['Retry-After', 1e9],
    ['retry of gateway.close', 1e12],
  ])('a %s of years is no timer that fires at once', async (what, long) => {
    start();
    const first = await gateway.request(1);
    if (what === 'Retry-After') await first.json(503, {}, { 'Retry-After': String(long) });
    else await (await first.open()).close('draining', { retry: long });
    await pass(60_000);
    await gateway.request(1);
  });

  test('openTimeout: Infinity waits', async () => {
    start({ openTimeout: Number.POSITIVE_INFINITY });
    await gateway.request(1);
    await pass(60_000);
    await (await gateway.request(1)).open();
    expect(statuses()).toEqual(['live']);
  });

  test('closed by a handler of an event that had waited for another stream, it delivers no more', async () => {
    start();
    const first = await (await gateway.request(1)).open();
    connection.channel('b').subscribe();
    await pass(20);
    await first.event('a', 1);
    await first.event('a', 2);
    connection.on('*', () => connection.close());
    await (await gateway.request(2)).fail();
    expect(got).toEqual(['a1']);
    expect(connection.cursor).toBe('c1');
  });

  test('closed by a listener of its state, it does not go on with the attempt', async () => {
    const token = vi.fn(() => 't');
    start({ token });
    await (await gateway.request(1)).fail();
    connection.onState(({ retryAt }) => retryAt === null && connection.close());
    await pass(250);
    expect(connection.state.status).toBe('closed');
    expect(token).toHaveBeenCalledTimes(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('the last that each listener hears of the state is how it is', async () => {
    connection = connect(URL_, { fetch: gateway.fetch, channels: ['a'] });
    connection.onState(({ status }) => status === 'live' && connection.close());
    connection.onState((state) => states.push(state));
    await (await gateway.request(1)).open();
    expect(states.at(-1)).toBe(connection.state);
    expect(connection.state.status).toBe('closed');
  });

  test('a handler that reconnects gets nothing of a poll twice', async () => {
    start({ transport: 'poll' });
    let once = true;
    connection.on('*', () => {
      if (once) connection.reconnect();
      once = false;
    });
    const event = (n: number) => ({ channel: 'a', event_id: `e${n}`, type: 't', timestamp: 'T', data: n });
    await (await gateway.request(1)).json(200, { events: [event(1), event(2)], gaps: [], cursor: 'c2' });
    expect(got).toEqual(['a1', 'a2']);
    expect(gateway.requests.at(-1)?.cursor).toBe('c2');
    expect(gateway.requests.filter(({ aborted }) => !aborted).length).toBeLessThanOrEqual(2);
  });

  test('maxAttempts counts on while it tries streams and polls in turn', async () => {
    start({ maxAttempts: 6 });
    await pass(600_000);
    expect(connection.state).toMatchObject({ status: 'closed', reason: 'attempts' });
    expect(gateway.requests.length).toBe(6);
  });

  test('a loop over what is closed already ends', async () => {
    start({ signal: AbortSignal.abort() });
    for await (const _ of connection) throw new Error('nothing can come');
    for await (const _ of connection.channel('b')) throw new Error('nothing can come');
  });

  test('a clock that is set back hides no dead stream', async () => {
    start();
    await (await gateway.request(1)).open({ heartbeat: 10_000 });
    vi.setSystemTime(Date.now() - 3_600_000);
    await pass(50_000);
    expect(errors).toMatchObject([{ code: 'silent' }]);
  });

  test('a token function that has but one expired token makes no loop', async () => {
    start({ token: () => 'old' });
    for (let n = 1; n <= 2; n++) await (await (await gateway.request(n)).open()).close('token_expired');
    expect(connection.state).toMatchObject({ status: 'reconnecting', reason: 'token_expired' });
    expect(connection.state.retryAt).toBeGreaterThan(Date.now());
  });
});
