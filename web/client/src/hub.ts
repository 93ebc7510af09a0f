import { connect } from './core.js';
import { type Message, plain, type Report, type Request } from './messages.js';
import { cursorOf, nowhere, type Positions, positionsOf } from './positions.js';
import type { Connection, ConnectOptions, TokenRequest, Unsubscribe, UntypedEvents } from './types.js';

/** How long in ms tabs may take to say where they are: one that sleeps must not hold up the others. */
const ANSWERS = 500;
/** How long in ms tabs that answer late count together. */
const RECENT = 10_000;
/** How long in ms a tab may take to get a token, before another one is asked. */
const TOKEN = 5000;

/** What a hub needs of its connection, in a form that can be sent to a worker. */
export type HubOptions = Omit<ConnectOptions, 'channels' | 'cursor' | 'signal' | 'store'>;

/** Holds the connection of all tabs. */
export interface Hub {
  receive(request: Request): void;
  close(): void;
}

/** Takes the older of both in each channel into the first. */
function reach(oldest: Positions, at: Positions): Positions {
  for (const [channel, position] of Object.entries(at)) {
    const known = oldest[channel];
    if (known === undefined || position < known) oldest[channel] = position;
  }
  return oldest;
}

/** The lock that a tab holds while it lives. */
export function tabLock(name: string, tab = ''): string {
  return `${name}\ntab\n${tab}`;
}

/**
 * Makes the one connection, from the oldest position that any tab has in each channel: what the others
 * have already, they know by its position and drop.
 *
 * @param name of the tabs' common locks
 * @param asks whether tokens come from the tabs
 * @param empty is called when the last tab has gone
 */
export function createHub(
  name: string,
  url: string,
  options: HubOptions,
  asks: boolean,
  send: (report: Report) => void,
  empty?: () => void,
): Hub {
  const tabs = new Map<string, readonly string[]>();
  const watched = new Set<string>();
  const silent = new Set<string>(); // tabs that did not answer: they may sleep
  const answers = new Map<string, (answer: Extract<Message, { kind: 'token' }>) => void>();
  const gone = new AbortController();
  let connection: Connection<UntypedEvents> | undefined;
  let ends: Unsubscribe[] = [];
  const subscribed = new Map<string, Unsubscribe>();
  const lost = new Set<string>();
  let expected: Set<string> | undefined; // tabs that have not said yet where they are
  let timer: ReturnType<typeof setTimeout> | undefined;
  let from = nowhere(); // where the connection begins
  let startedAt = 0; // in ms since the epoch
  let version = 0;

  /** Asks all tabs where they are, and connects from there, or from before. */
  async function lead(before = nowhere()): Promise<void> {
    stop();
    from = before;
    const { held = [] } = await navigator.locks.query().catch((): LockManagerSnapshot => ({}));
    if (gone.signal.aborted) return;
    const lock = tabLock(name);
    expected = new Set(held.flatMap((info) => (info.name?.startsWith(lock) ? [info.name.slice(lock.length)] : [])));
    clearTimeout(timer);
    timer = setTimeout(start, ANSWERS);
    send({ kind: 'lead' });
  }

  function stop(): void {
    clearTimeout(timer);
    for (const end of ends) end();
    connection?.close();
    connection = undefined;
    subscribed.clear();
    lost.clear();
  }

  function start(): void {
    clearTimeout(timer);
    expected = undefined;
    startedAt = Date.now();
    const made = connect(url, { ...options, ...(asks ? { token } : {}), cursor: cursorOf(from) });
    connection = made;
    const at = (channel: string): bigint | undefined => positionsOf(made.cursor, [channel])[channel];
    ends = [
      made.on('*', (event) => {
        const { channel } = event;
        const place = { at: at(channel), shared: !subscribed.has(channel) };
        try {
          send({ kind: 'event', event, ...place });
        } catch {
          // It cannot be copied: browsers do not copy what is thousands of levels deep.
          send({ kind: 'gap', gap: { channel, reason: 'dropped', from: '', to: '' }, ...place });
        }
      }),
      made.onGap((gap) => send({ kind: 'gap', gap, at: at(gap.channel), shared: !subscribed.has(gap.channel) })),
      made.onError((error) => {
        if (error.channel) lost.add(error.channel);
        const shared = error.channel === undefined || !subscribed.has(error.channel);
        send({ kind: 'error', error: plain(error), shared });
      }),
      made.onState(() => {
        version++;
        report();
      }),
    ];
    version++;
    sync([]);
    report();
  }

  function report(): void {
    if (!connection) return;
    const { state, cursor } = connection;
    const known = positionsOf(cursor, Object.keys(state.open?.channels ?? {}));
    const at: Record<string, bigint | null> = Object.create(null);
    for (const [channel, start] of Object.entries(state.open?.channels ?? {})) {
      const position = known[channel];
      at[channel] = start === null ? null : (position ?? null);
      if (position !== undefined) from[channel] ??= position;
    }
    send({ kind: 'state', version, state: { ...state, error: state.error && plain(state.error) }, at });
  }

  /** Subscribes to what the tabs want together. */
  function sync(added: readonly string[]): void {
    if (!connection) return;
    const wanted = new Set([...tabs.values()].flat());
    for (const [channel, end] of subscribed) {
      // One that was refused is tried again for who is new to it.
      if (wanted.has(channel) && !(lost.has(channel) && added.includes(channel))) continue;
      end();
      subscribed.delete(channel);
      lost.delete(channel);
      if (!wanted.has(channel)) delete from[channel];
    }
    for (const channel of wanted) {
      if (!subscribed.has(channel)) subscribed.set(channel, connection.channel(channel).subscribe());
    }
  }

  /** Forgets a tab when its lock is free: it has crashed, or was closed without a word. */
  function watch(tab: string): void {
    if (watched.has(tab)) return;
    watched.add(tab);
    const forget = (): void => {
      watched.delete(tab);
      receive({ kind: 'bye', tab });
    };
    navigator.locks.request(tabLock(name, tab), { signal: gone.signal }, forget).catch(() => {});
  }

  function receive(request: Request): void {
    if (gone.signal.aborted) return;
    if (request.kind === 'want') {
      const { tab, channels, at = {}, slept } = request;
      const before = tabs.get(tab) ?? [];
      tabs.set(tab, channels);
      silent.delete(tab);
      watch(tab);
      if (expected) {
        reach(from, at);
        expected.delete(tab);
        if (expected.size === 0) start();
        return;
      }
      // What it missed it can only have from a connection that begins there. Who heard everything since
      // this one began has, or will have, read it.
      const now = slept && connection ? positionsOf(connection.cursor, channels) : from;
      const older = ([channel, position]: [string, bigint]): boolean => {
        const known = now[channel];
        return known === undefined || position < known;
      };
      if (Object.entries(at).some(older)) {
        // It will be late again, and so may others: what they said has to count the next time.
        return void lead(reach(Date.now() - startedAt < RECENT ? from : nowhere(), at));
      }
      sync(channels.filter((channel) => !before.includes(channel)));
      report();
    } else if (request.kind === 'bye') {
      const known = tabs.delete(request.tab);
      silent.delete(request.tab);
      if (known && tabs.size === 0 && !expected) empty?.();
      if (expected?.delete(request.tab) && expected.size === 0) start();
      else sync([]);
    } else if (request.kind === 'reconnect') connection?.reconnect();
    else if (request.kind === 'ping') {
      const { tab, awake } = request;
      const channels = tabs.get(tab);
      if (channels && tabs.delete(tab)) tabs.set(tab, channels); // as the newest: somebody looks at it
      silent.delete(tab);
      if (awake && connection?.state.retryAt) connection.reconnect();
      report();
    } else answers.get(request.question)?.(request);
  }

  /**
   * Asks one tab after another: the one that was looked at last first, as others may sleep, and last those that did
   * not answer before. An attempt has time for two.
   */
  async function token({ refresh, signal }: TokenRequest): Promise<string> {
    const asleep = (tab: string): number => Number(silent.has(tab));
    for (const tab of [...tabs.keys()].reverse().sort((a, b) => asleep(a) - asleep(b))) {
      const question = crypto.randomUUID();
      const answer = await new Promise<Extract<Message, { kind: 'token' }> | undefined>((resolve) => {
        const late = setTimeout(resolve, TOKEN);
        answers.set(question, (said) => {
          clearTimeout(late);
          resolve(said);
        });
        send({ kind: 'ask', tab, question, refresh });
      });
      answers.delete(question);
      if (!answer) silent.add(tab);
      signal.throwIfAborted();
      if (answer?.value !== undefined) return answer.value;
      if (answer) throw new Error(answer.failure);
    }
    throw new Error('no tab answers');
  }

  void lead();
  return {
    receive,
    close() {
      gone.abort();
      stop();
    },
  };
}
