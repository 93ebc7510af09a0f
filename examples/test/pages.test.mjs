// The pages of the other examples, in a browser.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { launch, openWindow } from './browser.mjs';
import { ask, DEADLINE, startExample, until } from './system.mjs';

describe('pages', { timeout: 4 * DEADLINE }, () => {
  let browser;
  before(async () => (browser = await launch()));
  after(() => browser?.close());

  /** Runs a test on a running example, in windows in which nothing may go wrong unseen. */
  const on = (name, title, test) =>
    it(`${name}: ${title}`, { timeout: DEADLINE }, async () => {
      const example = await startExample(name);
      const windows = [];
      try {
        await test(example, async (query = '', context) => {
          const window = await openWindow(browser, `${example.url}${query}`, context);
          windows.push(window);
          return window;
        });
        assert.deepEqual(
          windows.flatMap(({ errors }) => errors),
          [],
        );
      } finally {
        for (const { page } of windows) await page.close();
        await example.stop();
      }
    });

  const cells = (page, row) => page.locator(`${row} td`).allTextContents();

  on('workshop', 'many events of one part are few requests, in all windows', async (_, open) => {
    const alice = await open();
    const bob = await open('?as=bob');
    await alice.statusIs('live');
    await bob.statusIs('live');
    await bob.page.getByText('alice', { exact: true }).nth(1).waitFor(); // beside the link: who is here
    const idea = ({ page }) => page.locator('#ideas .item').first();
    await idea(alice).waitFor();
    await alice.page.getByRole('button', { name: 'Vote 20 times' }).click();
    for (const window of [alice, bob]) {
      await until('20 votes are shown', async () => (await idea(window).getAttribute('data-votes')) === '20');
      const [, events, requests] = await cells(window.page, '[data-part="ideas"]');
      assert.equal(events, '20');
      assert.ok(Number(requests) < 10, `${requests} requests for 20 events`);
      assert.equal((await cells(window.page, '[data-part="phase"]'))[2], '1', 'what has not changed is not read again');
    }
  });

  on('cache', 'an event reads again what it is about, once, and nothing else', async ({ url }, open) => {
    const { page, statusIs } = await open();
    await statusIs('live');
    const count = async (query) => Number((await cells(page, `[data-query="${query}"]`))[1] ?? 0);
    const settled = (what, list, post) =>
      until(
        `${what}: ${list} and ${post}`,
        async () => (await count('posts list')) === list && (await count('posts p1')) === post,
      );
    let [list, post] = [2, 2]; // at first, and as the stream began
    await settled('at first', list, post);

    await ask(url, 'PATCH', '/api/posts/p2', { title: 'Renamed' });
    await page.locator('#list').getByText('Renamed').waitFor();
    await settled('another post', ++list, post);
    await ask(url, 'PATCH', '/api/posts/p1', { title: 'Shown' });
    await page.locator('#post').getByText('Shown').waitFor();
    await settled('the post that is shown', ++list, ++post);
    await ask(url, 'POST', '/api/posts/p1/like');
    await page.locator('#post').getByText('1 like', { exact: true }).waitFor();
    await settled('an event with data', list, post);
    await ask(url, 'POST', '/api/import');
    await page.locator('#list').getByText('Imported 22').waitFor();
    await settled('an event without an id', ++list, ++post);
    await ask(url, 'POST', '/api/flush');
    await page.locator('#last').getByText('flush').waitFor();
    await settled('flush all', ++list, ++post);
  });

  on('admin', 'a refused channel disturbs no other', async (_, open) => {
    const alice = await open();
    const bob = await open('?as=bob');
    await alice.statusIs('live');
    await bob.statusIs('live');
    const project = ({ page }, name) => page.locator(`[data-project="${name}"]`);
    await project(bob, 'blog').getByRole('button', { name: 'Watch' }).click();
    await bob.page.locator('.toast').getByText('bob is no admin of blog').first().waitFor();
    await project(alice, 'shop').getByRole('button', { name: 'Notify' }).click();
    for (const { page } of [alice, bob]) await page.locator('#notifications').getByText('alice says hello').waitFor();

    await alice.page.getByLabel('Banner').fill('Closed on Sunday');
    await alice.page.keyboard.press('Enter');
    await bob.page.locator('#banner').getByText('Closed on Sunday').waitFor();

    await project(alice, 'shop').getByRole('button', { name: 'Dismiss bob' }).click();
    await project(bob, 'shop').getByRole('button', { name: 'Watch', exact: true }).waitFor();
    await bob.statusIs('live');
  });

  on('user', 'tabs share one connection; signed out, and in again', async ({ connections }, open) => {
    const first = await open();
    await first.statusIs('live');
    const second = await open('#support', first.page.context());
    await second.statusIs('live');
    const open_ = async () => {
      const answers = await Promise.all(connections.map(async (url) => (await fetch(`${url}?user=alice`)).json()));
      return answers.reduce((sum, { total }) => sum + total, 0);
    };
    assert.equal(await open_(), 1, 'connections of two tabs');

    await first.page.getByRole('link', { name: 'Orders' }).click();
    await first.page.getByRole('button', { name: 'Order' }).click();
    await first.page.getByText('An order is 100 at most.').waitFor();
    await first.statusIs('live');
    await first.page.getByLabel('Amount').fill('7');
    await first.page.getByRole('button', { name: 'Order' }).click();
    for (const { page } of [first, second])
      await page.locator('#notices').getByText('Your order of 7 is on its way.').waitFor();

    await second.page.getByRole('button', { name: 'Take the team away' }).click();
    await first.page.getByText('You have lost team:red').waitFor();
    await second.page.getByRole('button', { name: 'Sign out' }).click();
    for (const window of [first, second]) {
      await window.page.getByText('Your session has ended: signed out by support.').waitFor();
      await window.statusIs('closed');
      await window.page.locator('main[inert]').waitFor();
    }
    await first.page.getByRole('button', { name: 'Sign in again' }).click();
    for (const window of [first, second]) {
      await window.statusIs('live');
      assert.equal(await window.page.locator('main[inert]').count(), 0);
    }
    assert.equal(await open_(), 1, 'connections of two tabs');
  });
});
