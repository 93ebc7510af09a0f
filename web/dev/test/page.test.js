import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { until, World } from '../../client/test/world.ts';
import { hasBrowser, launch, Window } from './windows.js';

const CHANNEL = 'project:demo:tasks';
/** Redis trims in steps of about 100 entries, so this many are kept and a little more. */
const HISTORY = 300;

/** A promise, and what fulfils it. */
function deferred() {
  /** @type {() => void} */
  let resolve = () => {};
  /** @type {Promise<void>} */
  const promise = new Promise((fulfil) => {
    resolve = fulfil;
  });
  return { promise, resolve };
}

describe.skipIf(!hasBrowser)('the demo page', () => {
  /** @type {World} */
  let world;
  /** @type {import('playwright-core').Browser} */
  let browser;
  /** @type {string} */
  let directory;
  /** @type {import('playwright-core').BrowserContext[]} */
  const contexts = [];
  /** @type {Window[]} */
  let windows = [];

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'gateway-page-'));
    const config = join(directory, 'gateway.yaml');
    writeFileSync(config, `channels: [{pattern: '${CHANNEL}', historySize: ${HISTORY}, subscribe: public}]\n`);
    world = await World.start(2, ['--dev', '--config', config]);
    browser = await launch();
  });

  afterAll(async () => {
    await browser?.close();
    await world?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  // Each test begins with an empty board.
  beforeEach(async () => {
    const answer = await fetch(`${world.url}/v1/channels/${CHANNEL}/events?after=0-0&limit=1000`);
    const { events } = await answer.json();
    const ids = new Set(events.filter(({ type }) => type.startsWith('task_')).map(({ data }) => data.id));
    for (const id of ids) await publish('task_deleted', { id });
  });

  afterEach(async () => {
    const errors = windows.flatMap((window) => window.errors);
    windows = [];
    for (const context of contexts.splice(0)) await context.close();
    await until('all streams are gone', async () => (await world.connections()) === 0);
    expect(errors).toEqual([]);
  });

  /** @param {import('playwright-core').BrowserContextOptions} [options] */
  async function newContext(options = {}) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    contexts.push(context);
    return context;
  }

  /**
   * Opens the page in a browser of its own, or in one more window of this one.
   * @param {import('playwright-core').BrowserContext} [context]
   */
  async function open(context, url = world.url) {
    const window = await Window.open(context ?? (await newContext()), url);
    windows.push(window);
    return window;
  }

  /**
   * Publishes as a backend would, through whichever replica takes it.
   * @param {string} type
   * @param {Record<string, unknown>} data
   */
  async function publish(type, data) {
    const body = JSON.stringify({ type, event_id: randomUUID(), data });
    const url = `${world.url}/v1/channels/${CHANNEL}/events`;
    await until('an event is published', async () => (await fetch(url, { method: 'POST', body })).ok);
  }

  /** @param {string} title */
  const create = (title, status = 'todo') => publish('task_created', { id: title, title, status });

  /**
   * @param {string} name
   * @param {number} from
   * @param {number} to
   */
  async function createAll(name, from, to) {
    for (let n = from; n <= to; n++) await create(`${name} ${n}`);
  }

  /** @param {string} name */
  const upTo = (name, count = 0) => Array.from({ length: count }, (_, i) => `${name} ${i + 1}`);

  test('two windows are in sync, by mouse and by keyboard, over one connection', async () => {
    const context = await newContext();
    const [one, two] = [await open(context), await open(context)];
    expect(await world.connections()).toBe(1);

    await one.page.keyboard.press('n');
    await one.page.keyboard.type('sync a');
    await one.page.keyboard.press('Enter');
    await two.has('todo', 'sync', ['sync a']);

    await two.drag('sync a', 'doing');
    await one.has('doing', 'sync', ['sync a']);
    await two.has('todo', 'sync', []);

    await one.card('sync a').focus();
    await one.page.keyboard.press('ArrowRight');
    await two.has('done', 'sync', ['sync a']);
    expect(await one.card('sync a').evaluate((card) => card === document.activeElement)).toBe(true);

    await one.page.keyboard.press('Enter');
    await one.page.keyboard.type('sync renamed');
    await one.page.keyboard.press('Enter');
    await two.has('done', 'sync', ['sync renamed']);

    await create('sync b', 'done');
    await one.has('done', 'sync', ['sync renamed', 'sync b']);
    await one.card('sync renamed').focus();
    await one.page.keyboard.press('Shift+ArrowDown');
    await two.has('done', 'sync', ['sync b', 'sync renamed']);

    await one.page.keyboard.press('Delete');
    await two.has('done', 'sync', ['sync b']);
    await one.page.getByRole('button', { name: 'Undo' }).click();
    await two.has('done', 'sync', ['sync b', 'sync renamed']);
  });

  test('the window that holds the connection closes, and the other misses nothing', async () => {
    const context = await newContext();
    const [one, two] = [await open(context), await open(context)];
    await create('leader 1');
    await two.has('todo', 'leader', ['leader 1']);
    const publishing = createAll('leader', 2, 10);
    await one.page.close();
    await publishing;
    await two.has('todo', 'leader', upTo('leader', 10));
    expect(await two.logged('leader')).toEqual(upTo('leader', 10));
    await two.is('Live');
    expect(await world.connections()).toBe(1);
  });

  test('a change is shown at once, and taken back where it is refused', async () => {
    const context = await newContext();
    const [one, two] = [await open(context), await open()];
    await create('rollback');
    await one.has('todo', 'rollback', ['rollback']);
    const refusal = { title: 'Forbidden', status: 403, detail: 'the sprint is closed' };
    const asked = deferred();
    const answer = deferred();
    await context.route('**/v1/channels/**', async (route) => {
      if (route.request().method() !== 'POST') return route.fallback();
      asked.resolve();
      await answer.promise;
      await route.fulfill({ status: 403, contentType: 'application/problem+json', body: JSON.stringify(refusal) });
    });
    await one.drag('rollback', 'done');
    await asked.promise;
    await one.has('done', 'rollback', ['rollback']);
    await one.page.locator('.card.pending').waitFor();
    answer.resolve();
    await one.has('todo', 'rollback', ['rollback']);
    await one.page.getByRole('alert').getByText('the sprint is closed').waitFor();
    await one.picture('rollback');
    expect(await two.titles('todo', 'rollback')).toEqual(['rollback']);

    await context.unroute('**/v1/channels/**');
    await one.page.getByRole('button', { name: 'Try again' }).click();
    await two.has('done', 'rollback', ['rollback']);
  });

  test('replicas are killed behind the balancer, and nothing is lost or comes twice', async () => {
    const window = await open();
    let n = 0;
    for (const replica of [...world.replicas, ...world.replicas]) {
      await createAll('kill', n + 1, n + 4);
      await replica.end('SIGKILL');
      await createAll('kill', n + 5, n + 8);
      await replica.start();
      n += 8;
    }
    await window.has('todo', 'kill', upTo('kill', n));
    expect(await window.logged('kill')).toEqual(upTo('kill', n));
    await window.is('Live');
    expect((await window.statuses()).join(' ')).toMatch(/live reconnecting (.* )?live$/);
  });

  test('without a balancer the page goes to another replica, and can be sent back', async () => {
    const [one, two] = world.replicas;
    const window = await open(undefined, one.url);
    await window.page.locator('#replica-list button').nth(1).waitFor();
    await createAll('move', 1, 3);
    await window.has('todo', 'move', upTo('move', 3));
    await one.end('SIGKILL');
    await createAll('move', 4, 6);
    await until('it is served by the other', async () =>
      (await window.page.locator('#state-detail').textContent()) === `served by ${new URL(two.url).host}`);
    await window.has('todo', 'move', upTo('move', 6));
    expect(await window.logged('move')).toEqual(upTo('move', 6));

    await one.start();
    const home = window.page.locator('#replica-list').getByText(new URL(one.url).host);
    await home.click();
    await until('it is served by the first', async () => (await home.getAttribute('aria-pressed')) === 'true');
    await window.is('Live');
    await createAll('move', 7, 9);
    await window.has('todo', 'move', upTo('move', 9));
    expect(await window.logged('move')).toEqual(upTo('move', 9));
  });

  test('offline it says so, counts down and can be told to try; back, it has everything', async () => {
    const context = await newContext();
    const window = await open(context);
    await createAll('offline', 1, 2);
    await window.has('todo', 'offline', upTo('offline', 2));
    await context.setOffline(true);
    await window.is('Offline');
    await window.drag('offline 1', 'doing');
    await window.page.getByRole('alert').getByText('the gateway does not answer').waitFor();
    await window.has('todo', 'offline', upTo('offline', 2));

    await window.page.getByText(/^no network, next attempt in\s[1-9]\d*\ss$/).waitFor();
    await window.picture('offline');
    const attempt = window.page.waitForEvent('requestfailed', (request) => request.url().includes('/v1/events'));
    await window.page.getByRole('button', { name: 'Try now' }).click();
    await attempt;

    await createAll('offline', 3, 10);
    await context.setOffline(false);
    await window.is('Live');
    await window.has('todo', 'offline', upTo('offline', 10));
    expect(await window.logged('offline')).toEqual(upTo('offline', 10));
    expect(await window.page.locator('#banner').isVisible()).toBe(false);
  });

  test('what the history has no more is shown as a gap, and the board is read again', async () => {
    const context = await newContext();
    const window = await open(context);
    await create('gap before');
    await window.has('todo', 'gap', ['gap before']);
    await context.setOffline(true);
    await window.is('Offline');
    for (let n = 0; n < 3 * HISTORY; n += 20) {
      await Promise.all(Array.from({ length: 20 }, (_, i) => publish('noise', { n: n + i })));
    }
    await create('gap after');
    await context.setOffline(false);
    await window.is('Live');
    await window.page.locator('#banner').getByText(/could not be delivered any more \(trimmed\)/).waitFor();
    await window.has('todo', 'gap', ['gap after']);
    await window.picture('gap');
    await window.page.getByRole('button', { name: 'Dismiss' }).click();
    expect(await window.page.locator('#banner').isVisible()).toBe(false);
  });

  test('a forced logout is no trouble with the connection: the page says who ended it, and why', async () => {
    const context = await newContext();
    const window = await open(context);
    const close = { reason: 'signed out by an administrator', reconnect: false, retry: 0 };
    // In development nobody has a name by which they could be signed out.
    await context.route('**/v1/events*', (route) =>
      route.fulfill({ contentType: 'text/event-stream', body: `event: gateway.close\ndata: ${JSON.stringify(close)}\n\n` }));
    world.cut();
    const alert = window.page.getByRole('alert');
    await alert.getByText('You have been signed out').waitFor();
    await alert.getByText('signed out by an administrator').waitFor();
    await window.is('Closed');
    expect(await window.page.locator('#board').evaluate((board) => board.inert)).toBe(true);
    expect(await window.page.getByRole('button', { name: 'Try now' }).isVisible()).toBe(false);
    await window.picture('signed-out');

    await context.unroute('**/v1/events*');
    await window.page.getByRole('button', { name: 'Connect again' }).click();
    await window.is('Live');
    await alert.waitFor({ state: 'hidden' });
    await create('signed in');
    await window.has('todo', 'signed in', ['signed in']);
  });

  /** Tasks as on anybody's board, for the pictures. */
  async function fill() {
    const tasks = [
      ['todo', 'Write the release notes', 'kim'],
      ['todo', 'Rotate the signing keys before the end of the month', ''],
      ['todo', 'Ask for feedback on the new dashboard', 'alex'],
      ['doing', 'Move the checkout to the new gateway', 'sam'],
      ['doing', 'Load test with 10,000 connections', 'kim'],
      ['done', 'Choose a name', 'alex'],
    ];
    for (const [status, title, assignee] of tasks) {
      await publish('task_created', { id: title, title, status, ...(assignee ? { assignee } : {}) });
    }
  }

  test('light and dark, wide and on a phone, it can be read and used', async () => {
    await fill();
    /** @param {Window} window */
    const colours = (window) =>
      window.page.evaluate(() => {
        const { backgroundColor, color } = getComputedStyle(document.body);
        /** @param {string} text */
        const brightness = (text) => (text.match(/\d+/g) ?? []).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 3;
        return [brightness(backgroundColor), brightness(color)];
      });
    const light = await open(await newContext({ colorScheme: 'light' }));
    const [paper, ink] = await colours(light);
    expect(paper - ink).toBeGreaterThan(150);
    await light.picture('light');

    const dark = await open(await newContext({ colorScheme: 'dark' }));
    const [night, chalk] = await colours(dark);
    expect(chalk - night).toBeGreaterThan(150);
    await dark.picture('dark');

    const touch = { isMobile: true, hasTouch: true, deviceScaleFactor: 2 };
    for (const [name, width, colorScheme] of /** @type {const} */ ([['phone', 390, 'light'], ['phone-dark', 390, 'dark'], ['phone-small', 320, 'light']])) {
      const phone = await open(await newContext({ ...touch, viewport: { width, height: 780 }, colorScheme }));
      await phone.fits();
      await phone.picture(name);
    }

    const phone = await open(await newContext({ ...touch, viewport: { width: 390, height: 780 } }));
    await phone.page.getByRole('button', { name: 'Move “Choose a name” to Doing' }).tap();
    await light.has('doing', 'Choose', ['Choose a name']);
    const sizes = await phone.page.locator('button:visible').evaluateAll((all) => all.map((button) => button.getBoundingClientRect().height));
    expect(Math.min(...sizes)).toBeGreaterThanOrEqual(38);
    await phone.page.context().setOffline(true);
    await phone.is('Offline');
    await phone.page.getByText(/next attempt in/).waitFor();
    await phone.fits();
    await phone.picture('phone-offline');
  });
});
