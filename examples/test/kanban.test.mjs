// The kanban board as people see it: two users in two windows, and replicas that die.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { launch, openWindow } from './browser.mjs';
import { DEADLINE, startExample, startRedis, until } from './system.mjs';

describe('kanban in a browser', { timeout: 2 * DEADLINE }, () => {
  let redis, example, browser, alice, bob;

  before(async () => {
    redis = await startRedis();
    example = await startExample('kanban', redis.url);
    browser = await launch();
    alice = await openWindow(browser, example.url);
    bob = await openWindow(browser, `${example.url}?as=bob`);
    await alice.statusIs('live');
    await bob.statusIs('live');
  });
  after(async () => {
    await browser?.close();
    await example?.stop();
    await redis?.stop();
  });

  const card = ({ page }, title) => page.locator('.card', { has: page.getByText(title, { exact: true }) });
  const column = ({ page }, status) => page.locator(`[data-status="${status}"]`);
  const inColumn = (window, title, status) =>
    column(window, status).locator('.card', { has: window.page.getByText(title, { exact: true }) });
  const add = async ({ page }, title) => {
    await page.getByLabel('New task').fill(title);
    await page.keyboard.press('Enter');
  };
  /** Which cards a window shows, by column. */
  const shown = ({ page }) =>
    page.evaluate(() =>
      [...document.querySelectorAll('.card')].map((c) => [
        c.closest('.column').dataset.status,
        c.dataset.id,
        c.dataset.rev,
        c.textContent.replace(/(Take|Give up).*/, ''),
      ]),
    );
  const inSync = () =>
    until(
      'both windows show the same',
      async () => JSON.stringify(await shown(alice)) === JSON.stringify(await shown(bob)),
    );

  it('what one does the other sees, by mouse and by keyboard', async () => {
    await add(alice, 'By alice');
    await card(bob, 'By alice').getByRole('button', { name: 'Take' }).click();
    await card(alice, 'By alice').getByText('bob').waitFor();
    await card(bob, 'By alice').dragTo(column(bob, 'doing'));
    await inColumn(alice, 'By alice', 'doing').waitFor();
    await card(alice, 'By alice').focus();
    await alice.page.keyboard.press('ArrowRight');
    await inColumn(bob, 'By alice', 'done').waitFor();
    assert.equal(
      await alice.page.evaluate(() => document.activeElement.querySelector('span').textContent),
      'By alice',
      'the focus stays on the card',
    );
    await inSync();
    assert.equal(await card(alice, 'By alice').count(), 1);
  });

  it('a change is shown before it is confirmed, and taken back when it is refused', async () => {
    await add(alice, 'Nobody has it');
    const [id] = await Promise.all([
      card(bob, 'Nobody has it').getAttribute('data-id'),
      inColumn(alice, 'Nobody has it', 'todo').waitFor(),
    ]);
    let answer;
    await alice.page.route(`**/tasks/${id}`, async (route) => {
      await new Promise((resolve) => (answer = resolve));
      await route.continue();
    });
    await card(alice, 'Nobody has it').focus();
    await alice.page.keyboard.press('ArrowRight');
    await inColumn(alice, 'Nobody has it', 'doing').waitFor(); // the service has not been asked yet
    assert.equal(await inColumn(bob, 'Nobody has it', 'todo').count(), 1);
    await until('the request is held', () => answer);
    answer();
    await inColumn(bob, 'Nobody has it', 'doing').waitFor();

    answer = undefined;
    await alice.page.keyboard.press('ArrowRight');
    await inColumn(alice, 'Nobody has it', 'done').waitFor();
    await until('the request is held', () => answer);
    answer();
    await alice.page.getByText('assign it first').waitFor();
    await inColumn(alice, 'Nobody has it', 'doing').waitFor();
    await alice.page.unroute(`**/tasks/${id}`);
    await inSync();
  });

  it('a gateway dies: reconnecting, live, and nothing is missing or doubled', async () => {
    await alice.page.evaluate(() => {
      window.seen = [];
      const place = document.getElementById('connection');
      new MutationObserver(() => {
        if (window.seen.at(-1) !== place.dataset.status) window.seen.push(place.dataset.status);
      }).observe(place, { attributeFilter: ['data-status'] });
    });
    const path = '/api/projects/42/tasks';
    let fetched = 0;
    alice.page.on('request', (request) => {
      if (request.method() === 'GET' && request.url().endsWith(path)) fetched++;
    });
    const { token } = await (
      await fetch(new URL('/api/token', example.url), { method: 'POST', body: '{"user":"alice"}' })
    ).json();
    const publish = (n) =>
      fetch(new URL(path, example.url), {
        method: 'POST',
        body: JSON.stringify({ title: `Number ${n}` }),
        headers: { authorization: `Bearer ${token}`, 'event-id': `number-${n}` },
      });
    const answers = await Promise.all(
      example.connections.map(async (url) => (await fetch(`${url}?user=alice`)).json()),
    );
    const pid = example.pids[answers.findIndex((answer) => answer.total > 0)];
    const total = 40;
    for (let n = 0; n < total; n++) {
      if (n === 15) process.kill(pid, 'SIGKILL');
      await publish(n);
    }
    await card(alice, `Number ${total - 1}`).waitFor();
    await card(bob, `Number ${total - 1}`).waitFor();
    await inSync();
    const titles = (await shown(alice)).map(([, , , text]) => text.match(/Number \d+/)?.[0]).filter(Boolean);
    assert.deepEqual(titles.sort(), Array.from({ length: total }, (_, n) => `Number ${n}`).sort());

    await alice.statusIs('live');
    await bob.statusIs('live');
    const seen = await alice.page.evaluate(() => window.seen);
    assert.deepEqual(
      seen.filter((status, n) => n > 0 || status !== 'live'),
      ['reconnecting', 'live'],
    );
    assert.equal(fetched, 0, 'the stream continued, and nothing was fetched anew');
    assert.deepEqual([...alice.errors, ...bob.errors], []);
  });

  it('who is not in the project is told, and sees nothing', async () => {
    const carol = await openWindow(browser, `${example.url}?as=carol`);
    await carol.statusIs('closed');
    await carol.page.getByText('carol is not in this project').waitFor();
    assert.deepEqual(await shown(carol), []);
    await carol.page.locator('main[inert]').waitFor(); // nothing is offered that would be refused
  });
});
