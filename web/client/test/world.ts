import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHmac, randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const REPOSITORY = new URL('../../../', import.meta.url).pathname;
const SECRET = 'a-secret-of-the-tests-that-is-long-enough';
const HOST = '127.0.0.1';

const POLICIES = `
channels:
  - {pattern: 'room:*', historySize: 100000, subscribe: token, publish: token}
  - {pattern: 'small:*', historySize: 3, subscribe: token, publish: token}
  - {pattern: 'plain:*', subscribe: token, publish: token}
`;

/** One gateway process. */
export interface Replica {
  url: string;
  ops: string;
  port: number;
  /** Ends it: SIGKILL like a crash, SIGTERM to drain. */
  end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void>;
  start(): Promise<void>;
}

/** A redis-server, gateways on it, and HAProxy before them. */
export class World {
  readonly replicas: Replica[] = [];
  /** Where the replicas are reached, by way of the balancer. */
  url = '';
  readonly #directory = mkdtempSync(join(tmpdir(), 'gateway-client-'));
  readonly #processes = new Set<ChildProcess>();
  readonly #sockets = new Set<Socket>();
  #cutter: Server | undefined;

  static async start(replicas: number, flags: readonly string[] = []): Promise<World> {
    const world = new World();
    try {
      await world.#start(replicas, flags);
    } catch (error) {
      await world.close();
      throw error;
    }
    return world;
  }

  async #start(replicas: number, flags: readonly string[]): Promise<void> {
    const binary = process.env.GATEWAY_BINARY ?? join(this.#directory, 'gateway');
    if (!process.env.GATEWAY_BINARY) {
      execFileSync('go', ['build', '-o', binary, './cmd/gateway'], { cwd: REPOSITORY, stdio: 'inherit' });
    }
    const config = join(this.#directory, 'gateway.yaml');
    writeFileSync(config, POLICIES);
    const redis = await freePort();
    this.#run('redis-server', ['--port', String(redis), '--bind', HOST, '--save', '', '--dir', this.#directory]);
    for (let i = 0; i < replicas; i++) {
      const [port, ops] = [await freePort(), await freePort()];
      let child: ChildProcess | undefined;
      const replica: Replica = {
        port,
        url: `http://${HOST}:${port}`,
        ops: `http://${HOST}:${ops}`,
        start: async () => {
          child = this.#run(binary, [
            ...['--addr', `${HOST}:${port}`, '--ops-addr', `${HOST}:${ops}`, '--config', config],
            ...['--redis-url', `redis://${HOST}:${redis}`, '--jwt-secret', SECRET, '--drain-time', '1s', ...flags],
          ]);
          await until('a replica is ready', async () => (await fetch(`${replica.ops}/readyz`)).ok);
        },
        end: async (signal) => {
          const ended = new Promise((resolve) => child?.once('exit', resolve));
          child?.kill(signal);
          await ended;
        },
      };
      this.replicas.push(replica);
    }
    await Promise.all(this.replicas.map((replica) => replica.start()));
    await this.#balance();
  }

  #run(command: string, args: readonly string[]): ChildProcess {
    const child = spawn(command, args, { stdio: ['ignore', 'ignore', process.env.GATEWAY_LOG ? 'inherit' : 'ignore'] });
    this.#processes.add(child);
    child.once('exit', () => this.#processes.delete(child));
    return child;
  }

  /** Starts HAProxy with the documented settings, and before it what can cut its clients off. */
  async #balance(): Promise<void> {
    const port = await freePort();
    const [documented] =
      /(?<=```haproxy\n)[^`]+/.exec(readFileSync(`${REPOSITORY}docs/load-balancers.md`, 'utf8')) ?? [];
    if (!documented) throw new Error('docs/load-balancers.md has no settings of HAProxy');
    const servers = this.replicas.map((replica, i) => {
      return `    server gateway-${i} ${HOST}:${replica.port} check port ${new URL(replica.ops).port}\n`;
    });
    const settings = join(this.#directory, 'haproxy.cfg');
    writeFileSync(
      settings,
      documented
        .replace('bind :8080', `bind ${HOST}:${port}`)
        .replace(/maxconn \d+/, 'maxconn 2000')
        .replace('inter 2s', 'inter 100ms')
        // A gateway in development answers only who names this machine.
        .replace(/( +)http-check expect/, '$1http-check send hdr Host localhost\n$&')
        .replace(/( +server gateway-.*\n?)+/, servers.join('')),
    );
    this.#run('haproxy', ['-db', '-f', settings]);
    const cutter = createServer((client) => {
      const server = connect(port, HOST);
      for (const [from, to] of [
        [client, server],
        [server, client],
      ] as const) {
        this.#sockets.add(from);
        from.on('error', () => to.destroy());
        from.once('close', () => {
          this.#sockets.delete(from);
          to.destroy();
        });
        from.pipe(to);
      }
    });
    this.#cutter = cutter;
    this.url = `http://${HOST}:${await listen(cutter)}`;
    await until('the balancer has found the replicas', async () => {
      return (await fetch(`${this.url}/v1/channels/room:1/events`)).status < 500;
    });
  }

  /** Cuts every connection through the balancer. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** A token for user alice, for so many seconds. */
  token(rights: readonly string[] = ['**'], seconds = 3600, sub = 'alice'): string {
    const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const now = Date.now() / 1000;
    const claims = {
      sub,
      iat: now,
      exp: now + seconds,
      jti: randomUUID(),
      gateway: { subscribe: rights, publish: ['**'] },
    };
    const text = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;
    return `${text}.${createHmac('sha256', SECRET).update(text).digest('base64url')}`;
  }

  /** Publishes an event of the type `n`, through whichever replica takes it. */
  async publish(channel: string, data: unknown): Promise<void> {
    const query = new URLSearchParams({ eventId: randomUUID() });
    await until('an event is published', async () => {
      const answer = await fetch(`${this.url}/v1/channels/${channel}/events?${query}`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${this.token()}` },
        body: JSON.stringify({ type: 'n', data }),
      });
      return answer.ok;
    });
  }

  /** How many streams and polls the living replicas have. */
  async connections(): Promise<number> {
    const counts = this.replicas.map(async ({ ops }) => {
      const answer = await fetch(`${ops}/v1/connections`).catch(() => undefined);
      return answer ? ((await answer.json()) as { total: number }).total : 0;
    });
    return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
  }

  async close(): Promise<void> {
    this.cut();
    this.#cutter?.close();
    await Promise.all(
      [...this.#processes].map((child) => {
        const ended = new Promise((resolve) => child.once('exit', resolve));
        child.kill('SIGKILL');
        return ended;
      }),
    );
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** Asks until it is so. */
export async function until(what: string, ask: () => boolean | Promise<boolean>, limit = 20_000): Promise<void> {
  const end = Date.now() + limit;
  for (;;) {
    let failure: unknown;
    try {
      if (await ask()) return;
    } catch (error) {
      failure = error;
    }
    if (Date.now() > end) throw new Error(`${what}: not within ${limit} ms`, { cause: failure });
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
  return (server.address() as { port: number }).port;
}
