// Starts what the tests look at: an example by its documented command, and a Redis.
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export const root = new URL('../..', import.meta.url).pathname;

/** How long in ms anything may take to happen; compiling is part of it. */
export const DEADLINE = 180_000;

/** Asks until the answer is something. */
export async function until(what, ask, deadline = 30_000) {
  for (const end = Date.now() + deadline; Date.now() < end; await sleep(20)) {
    const answer = await ask();
    if (answer) return answer;
  }
  throw new Error(`not within ${deadline} ms: ${what}`);
}

/** Starts a process with its own group, so that what it starts ends with it. */
function start(command, args, env = {}) {
  const child = spawn(command, args, {
    cwd: root,
    detached: true,
    env: { ...process.env, GATEWAY_REDIS_URL: '', ...env },
  });
  const started = { said: '', ended: undefined };
  for (const out of [child.stdout, child.stderr])
    out.setEncoding('utf8').on('data', (text) => {
      started.said += text;
    });
  const exit = new Promise((resolve) => {
    const end = (how) => {
      started.ended = how;
      resolve();
    };
    child.once('exit', (code, signal) => end(`${code ?? signal}`));
    child.once('error', (error) => end(error.message));
  });
  started.stop = async (signal = 'SIGINT') => {
    if (started.ended === undefined) process.kill(-child.pid, signal);
    await exit;
  };
  return started;
}

/** Starts an example; without a URL on the embedded Redis. */
export async function startExample(name, redisUrl) {
  const runner = start('go', [
    'run',
    './examples/run',
    name,
    '--addr',
    '127.0.0.1:0',
    ...(redisUrl ? ['--redis-url', redisUrl] : []),
  ]);
  try {
    await until(
      `${name} is up`,
      () => {
        if (runner.ended !== undefined) throw new Error(`${name} ended with ${runner.ended}: ${runner.said}`);
        return runner.said.includes('Ctrl-C');
      },
      DEADLINE,
    );
  } catch (error) {
    await runner.stop();
    throw error;
  }
  return {
    url: runner.said.match(/http:\/\/\S+/)[0],
    redis: runner.said.match(/redis:\/\/\S+/)[0],
    connections: [...runner.said.matchAll(/http:\S+\/v1\/connections/g)].map(([url]) => url),
    pids: [...runner.said.matchAll(/pid (\d+)/g)].map(([, pid]) => Number(pid)),
    said: () => runner.said,
    stop: runner.stop,
  };
}

/** Starts a gateway in development mode on a Redis. */
export async function startGateway(redisUrl) {
  const gateway = start('go', [
    'run',
    './cmd/gateway',
    '--dev',
    '--redis-url',
    redisUrl,
    '--addr',
    '127.0.0.1:0',
    '--ops-addr',
    '127.0.0.1:0',
  ]);
  const find = (pattern) => gateway.said.match(pattern)?.[1];
  await until(
    'the gateway is ready',
    async () => {
      if (gateway.ended !== undefined) throw new Error(`the gateway ended with ${gateway.ended}: ${gateway.said}`);
      const ready = find(/operations +(http:\/\/\S+\/readyz)/);
      return ready && (await fetch(ready)).ok;
    },
    DEADLINE,
  );
  return { url: find(/demo page +(http:\S+)/), stop: gateway.stop };
}

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Starts a redis-server that keeps nothing. */
export async function startRedis() {
  const dir = await mkdtemp(join(tmpdir(), 'examples-redis-'));
  const port = await freePort();
  const server = start('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', dir]);
  await until('redis-server listens', () => {
    if (server.ended !== undefined) throw new Error(`redis-server ended with ${server.ended}: ${server.said}`);
    return new Promise((resolve) => {
      const socket = createConnection(port, '127.0.0.1', () => {
        socket.end();
        resolve(true);
      }).on('error', () => resolve(false));
    });
  });
  return {
    url: `redis://127.0.0.1:${port}`,
    stop: async () => {
      await server.stop('SIGTERM');
      await rm(dir, { recursive: true });
    },
  };
}

/** Takes what a source delivers, and waits for what is to come. */
export function collect(source) {
  const events = [];
  const waiting = new Set();
  source.on('*', (event) => {
    events.push(event);
    for (const check of waiting) check();
  });
  return {
    events,
    /** Waits for an event that the test accepts. */
    async next(what, accept) {
      const look = () => events.find(accept);
      if (look()) return look();
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          waiting.delete(check);
          reject(new Error(`no ${what} came; there were ${JSON.stringify(events)}`));
        }, 30_000);
        const check = () => {
          if (!look()) return;
          clearTimeout(timer);
          waiting.delete(check);
          resolve(look());
        };
        waiting.add(check);
      });
    },
  };
}

/** Waits for a state of the connection that the test accepts. */
export async function reached(connection, what, accept) {
  await until(`${what}, but ${JSON.stringify(connection.state)}`, () => accept(connection.state));
  return connection.state;
}

/** Asks an example's service. */
export async function ask(base, method, path, body, headers = {}) {
  const response = await fetch(new URL(path, base), { method, headers, ...(body && { body: JSON.stringify(body) }) });
  return { status: response.status, answer: await response.json().catch(() => null) };
}
