import { existsSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Connection, ConnectOptions } from '../../src/index.js';
import type { SharedOptions } from '../../src/shared.js';
import { until, World } from '../world.js';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const FLAGS =
  '--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync';

const PAGE = `<!doctype html><title>test</title><script type="module">
  import { connect } from '/index.js';
  import { connectShared } from '/shared.js';
  import { cursorStore } from '/storage.js';
  globalThis.client = { connect, connectShared, cursorStore };
</script>`;

/** What a page of these tests keeps. */
interface PageState {
  connection: Connection<{ n: number }>;
  got: Record<string, number[]>;
  gaps: string[];
  statuses: string[];
  errors: string[];
}

declare global {
  var client: Pick<typeof import('../../src/index.js'), 'connect'> &
    typeof import('../../src/shared.js') &
    typeof import('../../src/storage.js');
  var state: PageState;
  function freshToken(refresh: boolean): Promise<string>;
}

let world: World;
let browser: Browser;
let context: BrowserContext;
let pages: Server;
let origin: string;

if (!existsSync(CHROMIUM)) console.warn(`NOT TESTED: there is no browser at ${CHROMIUM}; set CHROMIUM`);

describe.skipIf(!existsSync(CHROMIUM))('in a browser', () => {
  beforeAll(async () => {
    // The scripts as they are committed, on an origin that is not the gateway's.
    pages = createServer((request, response) => {
      const name = new URL(request.url ?? '', 'http://x').pathname.slice(1);
      response.setHeader('Content-Type', name.endsWith('.js') ? 'text/javascript' : 'text/html');
      if (!name.endsWith('.js')) return void response.end(PAGE);
      response.end(readFileSync(new URL(`../../dist/${name}`, import.meta.url)));
    });
    await new Promise<void>((resolve) => pages.listen(0, '127.0.0.1', resolve));
    origin = `http://127.0.0.1:${(pages.address() as { port: number }).port}`;
    world = await World.start(2, ['--allowed-origins', origin]);
    browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS.split(' ') });
  });

  afterAll(async () => {
    await browser?.close();
    await world?.close();
    pages?.close();
  });

  beforeEach(async () => {
    context = await browser.newContext();
    await context.exposeFunction('freshToken', (refresh: boolean) => world.token(['**'], refresh ? 60 : seconds));
    seconds = 3600;
  });

  afterEach(async () => {
    await context.close();
    await until('all streams are gone', async () => (await world.connections()) === 0);
  });

  let seconds: number;

  /** Opens a page and connects from it. With a storageKey it shares the connection. */
  async function open(options: Partial<SharedOptions> & Pick<ConnectOptions, 'channels'>): Promise<Page> {
    const page = await context.newPage();
    await page.goto(origin);
    await start(page, options);
    return page;
  }

  async function start(page: Page, options: Partial<SharedOptions>): Promise<void> {
    await page.evaluate(
      async ({ url, options }) => {
        const { connect, connectShared } = client;
        const token = ({ refresh }: { refresh: boolean }) => freshToken(refresh);
        const { storageKey } = options;
        const all = { minDelay: 100, token, ...options };
        const connection: PageState['connection'] =
          storageKey === undefined ? connect(url, all) : connectShared(url, { ...all, storageKey });
        globalThis.state = { connection, got: {}, gaps: [], statuses: [], errors: [] };
        const { got, gaps, statuses, errors } = globalThis.state;
        connection.on('n', ({ channel, data }) => {
          got[channel] ??= [];
          got[channel].push(data);
        });
        connection.onGap(({ channel, reason }) => gaps.push(`${channel} ${reason}`));
        connection.onState(({ status }) => statuses.push(status));
        connection.onError(({ code }) => errors.push(code));
      },
      { url: world.url, options },
    );
  }

  const status = (page: Page) => page.evaluate(() => state.connection.state.status);
  const stream = (page: Page) => page.evaluate(() => state.connection.state.open?.connection);
  const got = (page: Page, channel: string) => page.evaluate((name) => state.got[name] ?? [], channel);
  const live = (...all: Page[]) =>
    until('the pages are live', async () => (await Promise.all(all.map(status))).every((now) => now === 'live'));
  const has = (page: Page, channel: string, count: number) =>
    until(`a page has ${count} events`, async () => (await got(page, channel)).length >= count);
  const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);

  async function publish(channel: string, from: number, to: number): Promise<void> {
    for (let n = from; n <= to; n++) await world.publish(channel, n);
  }

  test.each([
    ['a tab holds the connection', {}],
    ['a SharedWorker holds the connection', { worker: '/worker.js' }],
  ])('eight tabs have one connection, and lose nothing when tabs close: %s', async (_, options) => {
    const channel = `room:tabs${Object.keys(options).length}`;
    const tabs: Page[] = [];
    for (let i = 0; i < 8; i++) tabs.push(await open({ storageKey: 'alice', channels: [channel], ...options }));
    await live(...tabs);
    expect(await world.connections()).toBe(1);
    // The page's other requests to the gateway are not held up.
    const history = `${world.url}/v1/channels/${channel}/events`;
    const answer = await tabs[7]?.evaluate(
      async (url) => (await fetch(url, { headers: { Authorization: `Bearer ${await freshToken(false)}` } })).status,
      history,
    );
    expect(answer).toBe(200);
    await publish(channel, 1, 20);
    for (const tab of tabs) await has(tab, channel, 20);

    let before: string | undefined;
    for (let closed = 0; closed < 4; closed++) {
      const publishing = publish(channel, 21 + closed * 20, 40 + closed * 20);
      before = await stream(tabs[7] as Page);
      await tabs[closed]?.close();
      await publishing;
    }
    for (const tab of tabs.slice(4)) {
      await has(tab, channel, 100);
      expect(await got(tab, channel)).toEqual(upTo(100));
      expect(await tab.evaluate(() => state.gaps)).toEqual([]);
    }
    await until('there is one connection', async () => (await world.connections()) === 1);
    if ('worker' in options) expect(await stream(tabs[7] as Page)).toBe(before);
  });

  test('a worker whose script is missing is done without', async () => {
    const tabs = [
      await open({ storageKey: 'alice', channels: ['room:missing'], worker: '/missing' }),
      await open({ storageKey: 'alice', channels: ['room:missing'], worker: '/missing' }),
    ];
    await live(...tabs);
    await publish('room:missing', 1, 3);
    for (const tab of tabs) await has(tab, 'room:missing', 3);
    expect(await world.connections()).toBe(1);
  });

  test('tabs have their own channels on it, and one that comes late begins at the present', async () => {
    const a = await open({ storageKey: 'alice', channels: ['room:own1', 'room:both'] });
    await live(a);
    await publish('room:both', 1, 2);
    await has(a, 'room:both', 2);
    const b = await open({ storageKey: 'alice', channels: ['room:own2', 'room:both'] });
    await until('the stream has its channels', () => b.evaluate(() => state.connection.channel('room:own2').open));
    await publish('room:both', 3, 4);
    await publish('room:own1', 1, 1);
    await publish('room:own2', 1, 1);
    await has(b, 'room:own2', 1);
    await has(a, 'room:own1', 1);
    await has(b, 'room:both', 2);
    expect(await b.evaluate(() => state.got)).toEqual({ 'room:both': [3, 4], 'room:own2': [1] });
    expect(await a.evaluate(() => state.got)).toEqual({ 'room:both': [1, 2, 3, 4], 'room:own1': [1] });
    expect(await world.connections()).toBe(1);
  });

  test('a page that was offline says so, and has everything when it is back', async () => {
    const page = await open({ channels: ['room:offline'] });
    await live(page);
    await publish('room:offline', 1, 5);
    await has(page, 'room:offline', 5);
    await context.setOffline(true);
    await until('it is offline', async () => (await status(page)) === 'offline');
    await publish('room:offline', 6, 30);
    await context.setOffline(false);
    await live(page);
    await has(page, 'room:offline', 30);
    expect(await got(page, 'room:offline')).toEqual(upTo(30));
    expect(await page.evaluate(() => state.gaps)).toEqual([]);
  });

  test('replicas are killed, and nothing is lost', async () => {
    const [one, two] = world.replicas;
    const page = await open({ channels: ['room:kill'] });
    await live(page);
    await publish('room:kill', 1, 20);
    await one?.end('SIGKILL');
    await publish('room:kill', 21, 40);
    await one?.start();
    await two?.end('SIGKILL');
    await publish('room:kill', 41, 60);
    await two?.start();
    await has(page, 'room:kill', 60);
    expect(await got(page, 'room:kill')).toEqual(upTo(60));
  });

  test.each([
    ['alone', {}],
    ['shared by tabs', { storageKey: 'alice' }],
    ['held by a worker', { storageKey: 'alice', worker: '/worker.js' }],
  ])('a token is renewed when it ends: %s', async (name, options) => {
    seconds = 2;
    const channel = `room:token${name.length}`;
    const page = await open({ channels: [channel], ...options });
    await live(page);
    const first = await stream(page);
    let n = 0;
    await until('there is another stream', async () => {
      await world.publish(channel, ++n);
      const now = await stream(page);
      return now !== undefined && now !== first;
    });
    await world.publish(channel, ++n);
    await has(page, channel, n);
    expect(await got(page, channel)).toEqual(upTo(n));
    expect(await page.evaluate(() => state.errors)).toEqual([]);
  });

  test('EventSource does as well', async () => {
    const page = await open({ channels: ['room:source'], transport: 'eventsource' });
    await live(page);
    await publish('room:source', 1, 10);
    world.cut();
    await publish('room:source', 11, 20);
    await has(page, 'room:source', 20);
    expect(await got(page, 'room:source')).toEqual(upTo(20));
    await page.evaluate(() => state.connection.close());
    await start(page, { channels: ['room:source'], transport: 'eventsource', token: 'nonsense' });
    await until('it is closed', async () => (await status(page)) === 'closed');
    expect(await page.evaluate(() => state.errors)).toEqual(['unauthorized']);
  });

  test('a page that is loaded again continues at the cursor that it kept', async () => {
    const page = await context.newPage();
    const load = (): Promise<void> =>
      page.evaluate(async (url) => {
        const { connect, cursorStore } = client;
        const channels = ['room:reload'];
        const store = cursorStore(sessionStorage, { url, channels, user: 'alice' });
        const connection: PageState['connection'] = connect(url, { channels, store, token: () => freshToken(false) });
        const all: number[] = [];
        globalThis.state = { connection, got: { all }, gaps: [], statuses: [], errors: [] };
        connection.on('n', ({ data }) => all.push(data));
      }, world.url);
    await page.goto(origin);
    await load();
    await live(page);
    await publish('room:reload', 1, 3);
    await has(page, 'all', 3);
    await page.reload();
    await publish('room:reload', 4, 6);
    await load();
    await has(page, 'all', 3);
    expect(await got(page, 'all')).toEqual([4, 5, 6]);
  });
});
