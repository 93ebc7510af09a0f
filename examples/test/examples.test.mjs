// Each example, by its documented command, on the embedded Redis and on a real one: what its service publishes, in whatever
// language, reaches the client.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { connect } from '../../web/client/dist/index.js';
import { ask, collect, DEADLINE, reached, startExample, startRedis } from './system.mjs';

it('each README has the command by which it is started here', async () => {
  for (const name of ['admin', 'cache', 'kanban', 'user', 'workshop']) {
    assert.match(
      await readFile(new URL(`../${name}/README.md`, import.meta.url), 'utf8'),
      new RegExp(`^go run ./examples/run ${name}$`, 'm'),
    );
  }
});

for (const kind of ['the embedded Redis', 'a real Redis']) {
  describe(`on ${kind}`, { timeout: 5 * DEADLINE }, () => {
    let redis;
    before(async () => {
      if (kind === 'a real Redis') redis = await startRedis();
    });
    after(() => redis?.stop());

    /** Runs a test on a running example, with a connection that ends with it. */
    const on = (name, title, test) =>
      it(`${name}: ${title}`, { timeout: DEADLINE }, async () => {
        const example = await startExample(name, redis?.url);
        const open = [];
        try {
          await test(example.url, (options) => {
            const connection = connect(example.url, options);
            open.push(connection);
            return connection;
          });
        } catch (error) {
          console.error(example.said());
          throw error;
        } finally {
          for (const connection of open) connection.close();
          await example.stop();
        }
      });

    const tokenOf = async (url, user) => (await ask(url, 'POST', '/api/token', { user })).answer.token;
    const bearer = (token) => ({ authorization: `Bearer ${token}` });

    on('kanban', 'what Go publishes reaches who is in the project, with its event id', async (url, join) => {
      const connection = join({ token: () => tokenOf(url, 'bob') });
      const seen = collect(connection.channel('project:42:tasks'));
      await reached(connection, 'bob is live', ({ status }) => status === 'live');

      const alice = bearer(await tokenOf(url, 'alice'));
      const create = () =>
        ask(url, 'POST', '/api/projects/42/tasks', { title: 'from the test' }, { ...alice, 'event-id': 'create-1' });
      const { answer: task } = await create();
      assert.deepEqual((await create()).answer, task, 'a request that is repeated makes no second task');
      const path = `/api/projects/42/tasks/${task.id}`;
      const refused = await ask(url, 'PATCH', path, { status: 'done' }, { ...alice, 'event-id': 'done-1' });
      assert.equal(refused.status, 409);
      await ask(url, 'PATCH', path, { assignee: 'bob' }, { ...alice, 'event-id': 'assign-1' });
      await ask(url, 'PATCH', path, { status: 'done' }, { ...alice, 'event-id': 'done-2' });
      await ask(url, 'PATCH', path, { title: 'renamed' }, { ...alice, 'event-id': 'rename-1' });
      await ask(url, 'DELETE', path, undefined, { ...alice, 'event-id': 'delete-1' });
      await seen.next('task_deleted', ({ type }) => type === 'task_deleted');
      assert.deepEqual(
        seen.events.map(({ type, event_id, data }) => [type, event_id, data.rev]),
        [
          ['task_created', 'create-1', 1],
          ['task_assigned', 'assign-1', 2],
          ['task_status_changed', 'done-2', 3],
          ['task_updated', 'rename-1', 4],
          ['task_deleted', 'delete-1', 5],
        ],
      );

      const carol = join({ token: () => tokenOf(url, 'carol') });
      collect(carol.channel('project:42:tasks'));
      const { error } = await reached(carol, 'carol is refused', ({ status }) => status === 'closed');
      assert.equal(error.code, 'forbidden');
    });

    on('workshop', 'Node tells which part has changed', async (url, join) => {
      const token = async () => (await ask(url, 'POST', '/api/sessions/one/join', { name: 'alice' })).answer.token;
      const connection = join({ token });
      const seen = collect(connection.channel('session:one'));
      await reached(connection, 'live', ({ status }) => status === 'live');
      await ask(url, 'POST', '/api/sessions/two/phase');
      await ask(url, 'POST', '/api/sessions/one/ideas', { text: 'test it' });
      const { data } = await seen.next('event', ({ type }) => type === 'changed');
      assert.deepEqual(data, { part: 'ideas' });
    });

    on('cache', 'Node publishes exactly one event for each write', async (url, join) => {
      const connection = join();
      const seen = collect(connection.channel('cache:posts'));
      await reached(connection, 'live', ({ status }) => status === 'live');
      const { answer: post } = await ask(url, 'POST', '/api/posts', { title: 'new' });
      await ask(url, 'PATCH', `/api/posts/${post.id}`, { title: 'newer' });
      await ask(url, 'POST', `/api/posts/${post.id}/like`);
      await ask(url, 'DELETE', `/api/posts/${post.id}`);
      await ask(url, 'POST', '/api/import');
      await ask(url, 'POST', '/api/flush');
      await seen.next('flush', ({ type }) => type === 'flush');
      assert.deepEqual(
        seen.events.map(({ type, action, id, data }) => [type, action, id, data?.likes]),
        [
          ['post', 'create', post.id, undefined],
          ['post', 'update', post.id, undefined],
          ['post', 'update', post.id, 1],
          ['post', 'delete', post.id, undefined],
          ['post', 'create', null, undefined],
          ['flush', undefined, undefined, undefined],
        ],
      );
    });

    on('admin', 'a shell publishes with redis-cli; rights are asked for at the subscription', async (url, join) => {
      const alice = await tokenOf(url, 'alice');
      const watch = async (user) => {
        const connection = join({ token: () => tokenOf(url, user) });
        const errors = [];
        connection.onError((error) => errors.push(error));
        const notifications = collect(connection.channel('project:shop:notifications'));
        const status = collect(connection.channel('project:shop:status'));
        return { connection, errors, notifications, status };
      };
      const bob = await watch('bob');
      await reached(bob.connection, 'bob is live', ({ status }) => status === 'live');
      await ask(url, 'POST', '/api/projects/shop/deployments', undefined, bearer(alice));
      const { data, event_id } = await bob.notifications.next('notification', () => true);
      assert.match(data.text, /^v\w+ of shop is out$/);
      assert.match(event_id, /^deploy-shop-v/);
      assert.equal(bob.status.events.at(-1).data.percent, 100);

      const late = await watch('alice');
      await late.notifications.next('the notification from before', () => true);
      assert.deepEqual(late.status.events, [], 'status is not replayed');

      await ask(url, 'POST', '/api/projects', { name: 'fresh' }, bearer(alice));
      const fresh = collect(late.connection.channel('project:fresh:notifications'));
      await ask(url, 'POST', '/api/projects/fresh/notifications', { text: 'on demand' }, bearer(alice));
      await fresh.next('event of a channel that nobody created', ({ data: { text } }) => text === 'on demand');

      const carol = await watch('carol');
      await reached(carol.connection, 'carol is refused', () => carol.errors.length > 0);
      assert.match(carol.errors[0].problem.detail, /carol is no admin of shop/);

      await ask(url, 'DELETE', '/api/projects/shop/admins/bob', undefined, bearer(alice));
      await reached(bob.connection, 'bob has lost both channels', () => bob.errors.length > 1);
      assert.deepEqual(
        bob.errors.map(({ kind, code }) => [kind, code]),
        [
          ['application', 'channel_lost'],
          ['application', 'channel_lost'],
        ],
      );
    });

    on('user', 'one connection that names no channel, until it is signed out', async (url, join) => {
      const token = async () => (await ask(url, 'POST', '/api/login', { user: 'alice' })).answer.token;
      const connection = join({ token, autoSubscribe: true });
      const errors = [];
      connection.onError((error) => errors.push(error));
      const seen = collect(connection);
      await reached(connection, 'live', ({ status }) => status === 'live');
      const support = (what, text) => ask(url, 'POST', `/api/support/${what}`, { user: 'alice', text });
      await support('message', 'one');
      await support('team', 'two');
      await support('broadcast', 'three');
      await seen.next('broadcast', ({ channel }) => channel === 'broadcast');
      assert.deepEqual(seen.events.map(({ channel, data }) => [channel, data.text]).sort(), [
        ['broadcast', 'three'],
        ['team:red', 'two'],
        ['user:alice', 'one'],
      ]);

      const order = await ask(url, 'POST', '/api/order', { amount: 150 }, bearer(await token()));
      assert.equal(order.status, 422);
      assert.equal(connection.state.status, 'live', 'an error of the application is none of the connection');

      await support('remove-team');
      await reached(connection, 'the team is lost', () => errors.length > 0);
      assert.deepEqual(
        [errors[0].code, errors[0].channel, errors[0].reason],
        ['channel_lost', 'team:red', 'no longer in the team'],
      );
      await support('message', 'the rest goes on');
      await seen.next('message', ({ data: { text } }) => text === 'the rest goes on');

      await support('logout');
      const { error } = await reached(connection, 'signed out', ({ status }) => status === 'closed');
      assert.deepEqual([error.code, error.reason], ['revoked', 'signed out by support']);
      connection.reconnect();
      await reached(connection, 'signed in again', ({ status }) => status === 'live');
      await support('message', 'welcome back');
      await seen.next('message', ({ data: { text } }) => text === 'welcome back');
    });
  });
}
