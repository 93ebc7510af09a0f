// The programs of docs/publishing.md, as they stand there. Redis' first answer to each is lost on the way, so it has to call
// again, and the event has to arrive all the same, and once.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect as dial, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { connect } from '../../web/client/dist/index.js';
import { collect, DEADLINE, reached, root, startGateway, startRedis } from './system.mjs';

/** How a block is run, and what has to be there for it. */
const RUN = {
  sh: { file: 'publish.sh', command: (file) => ['sh', file], has: ['redis-cli', '--version'] },
  go: { file: 'main.go', command: (file) => ['go', 'run', file], has: ['go', 'version'] },
  node: {
    command: (_, code) => ['node', '--input-type=module', '-e', code],
    has: ['node', '--version'],
    cwd: join(root, 'examples'),
  },
  python: { file: 'publish.py', command: (file) => [python(), file], has: () => [python(), '-c', 'import redis'] },
  php: {
    file: 'publish.php',
    command: (file) => ['php', file],
    has: ['php', '-r', 'exit(extension_loaded("redis") ? 0 : 1);'],
  },
  ruby: { file: 'publish.rb', command: (file) => ['ruby', file], has: ['ruby', '-e', 'require "redis"'] },
};

const works = ([command, ...args]) => spawnSync(command, args).status === 0;
/** The Python that has the package; Debian's has its own packages alone. */
const python = () =>
  ['python3', '/usr/bin/python3'].find((command) => works([command, '-c', 'import redis'])) ?? 'python3';

/** A way to Redis on which the first answer to FCALL is lost, and the connection with it. */
async function lossy(redisUrl) {
  const { hostname, port } = new URL(redisUrl);
  const way = { lost: 0 };
  const server = createServer((client) => {
    const redis = dial(Number(port), hostname);
    let losing = false;
    client.on('data', (bytes) => {
      losing ||= way.lost === 0 && bytes.includes('gateway_publish');
      redis.write(bytes);
    });
    redis.on('data', (bytes) => {
      if (!losing) return client.write(bytes);
      way.lost++;
      client.destroy();
    });
    for (const [one, other] of [
      [client, redis],
      [redis, client],
    ])
      one.on('close', () => other.destroy()).on('error', () => {});
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  way.url = `redis://127.0.0.1:${server.address().port}`;
  way.close = () => server.close();
  return way;
}

/** Runs a program, and returns what it printed. */
async function run([command, ...args], cwd, env, input) {
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env } });
  let out = '',
    failed = '';
  child.stdout.on('data', (text) => (out += text));
  child.stderr.on('data', (text) => (failed += text));
  child.stdin.end(input);
  const code = await new Promise((resolve) => child.once('close', resolve));
  assert.equal(code, 0, `${command} ended with ${code}: ${out}${failed}`);
  return out.trim();
}

describe('the programs of docs/publishing.md', { timeout: 3 * DEADLINE }, () => {
  let redis, gateway, blocks, dir;

  before(async () => {
    const page = await readFile(join(root, 'docs/publishing.md'), 'utf8');
    blocks = new Map(
      [...page.matchAll(/<!-- run: (\w+) -->\n```\w*\n(.*?)\n```/gs)].map(([, name, code]) => [name, code]),
    );
    dir = await mkdtemp(join(tmpdir(), 'publishing-'));
    redis = await startRedis();
    gateway = await startGateway(redis.url);
  });
  after(async () => {
    await gateway?.stop();
    await redis?.stop();
    await rm(dir, { recursive: true });
  });

  /** Runs a block on a channel of its own, and says what arrived there, once more than that has come. */
  async function arrives(name, runIt) {
    const channel = `project:${name}:tasks`;
    const code = blocks.get(name).replaceAll('project:42:tasks', channel);
    const connection = connect(gateway.url, { channels: [channel] });
    try {
      const seen = collect(connection);
      await reached(connection, 'live', ({ status }) => status === 'live');
      const said = await runIt(code);
      await run(['redis-cli', '-u', redis.url, 'FCALL', 'gateway_publish', '1', `gw:${channel}`, 'the end'], root);
      await seen.next('end', ({ data }) => data === 'the end');
      assert.deepEqual(
        seen.events.slice(0, -1).map(({ type, event_id, data }) => ({ type, event_id, data })),
        [{ type: 'task_created', event_id: 'task-7-created', data: { id: 7 } }],
      );
      return said;
    } finally {
      connection.close();
    }
  }

  for (const [name, { file, command, has, cwd = root }] of Object.entries(RUN)) {
    const missing =
      !works(typeof has === 'function' ? has() : has) && `${name}, or its Redis package, is not installed`;
    it(name, { timeout: DEADLINE, skip: missing }, async () => {
      const way = await lossy(redis.url);
      try {
        const said = await arrives(name, async (code) => {
          const at = join(dir, file ?? '');
          if (file) await writeFile(at, code);
          return run(command(at, code), cwd, { REDIS_URL: way.url });
        });
        assert.equal(way.lost, 1, 'an answer was lost');
        assert.match(said, /^\d+-\d+$/m, 'it says the position');
      } finally {
        way.close();
      }
    });
  }

  it('redis: a transaction', { timeout: DEADLINE }, async () => {
    const said = await arrives('redis', (code) => run(['redis-cli', '-u', redis.url], root, {}, code));
    assert.match(said, /^1\n\d+-\d+$/m);
  });

  it('runs every block that it is told to', () => {
    assert.deepEqual([...blocks.keys()].sort(), [...Object.keys(RUN), 'redis'].sort());
  });
});
