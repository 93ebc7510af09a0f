// Keeps one channel in sync through any replica: history first, then the stream
// from the same cursor, again after every interruption, and on another replica
// when this one cannot be reached.
//
// EventSource would reconnect by itself, but only to the same address and
// without telling how often it failed. So each EventSource lives for one stream,
// and the next one is opened here, with the cursor in its address.

import { fetchHistory, isEvent, publishEvent, RequestError } from './api.js';

/**
 * @typedef {import('./board.js').BoardEvent} BoardEvent
 * @typedef {'connecting'|'live'|'reconnecting'|'offline'|'closed'} State
 *
 * @typedef {object} Hooks
 * @property {(state: State, detail: {reason: string, retryAt: number}) => void} onState
 * @property {(events: BoardEvent[], gap: boolean) => void} onSnapshot the whole history: start over from it
 * @property {(event: BoardEvent) => void} onEvent one event, not necessarily for the first time
 * @property {(name: string, text: string) => void} onNotice something worth a line in the log
 */

const HEARTBEAT = 20_000; // until gateway.open says what it is
const SILENCE = 2.5; // heartbeats
const OPEN_TIMEOUT = 6_000;
const STEADY = 5_000; // a stream this old was a success, and the backoff starts anew
const MISSES = 2; // before another replica is tried
const PUBLISH_TRIES = 3;

export class Connection {
  /** Address of the replica in use. */
  base;
  /** What gateway.open calls the replica, where it does. */
  replica = '';
  /** @type {State} */
  state = 'connecting';

  #channel;
  #hooks;
  /** @type {Set<string>} */
  #types;
  /** Position to continue from; null: read the history first. @type {string | null} */
  #cursor = null;
  /** Position up to which all names of events are known. */
  #searched = '0-0';
  /** Addresses known to serve. @type {string[]} */
  #replicas;
  /** When each address failed last. @type {Map<string, number>} */
  #failedAt = new Map();
  /** @type {EventSource | null} */
  #source = null;
  #attempt = 0; // grows with every attempt, so that a late answer knows it is late
  #misses = 0; // in a row, at this address
  #failures = 0; // in a row, anywhere
  #heartbeat = HEARTBEAT;
  #lastHeard = 0;
  #openedAt = 0;
  #rereadAt = -Infinity;
  #retryTimer = 0;
  #watchTimer = 0;

  /**
   * @param {string} origin
   * @param {string} channel
   * @param {readonly string[]} types event names to listen to
   * @param {Hooks} hooks
   */
  constructor(origin, channel, types, hooks) {
    this.base = origin;
    this.#replicas = [origin];
    this.#channel = channel;
    this.#types = new Set(['message', ...types]);
    this.#hooks = hooks;
  }

  start() {
    window.addEventListener('online', () => this.reconnect());
    // No proof that a gateway on this very machine is away: try, and see.
    window.addEventListener('offline', () => this.reconnect('network lost'));
    window.addEventListener('pageshow', (event) => event.persisted && this.reconnect());
    window.addEventListener('pagehide', () => this.#drop());
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) this.#watch(); // timers sleep in hidden windows
    });
    this.#connect();
  }

  /** Connects again at once. */
  reconnect(reason = '') {
    this.#drop();
    this.#misses = 0;
    this.#failures = 0;
    this.#setState(this.#openedAt ? 'reconnecting' : 'connecting', reason);
    this.#connect();
  }

  /**
   * Moves to another replica and continues there.
   * @param {string} base
   */
  moveTo(base) {
    if (sameReplica(base, this.base)) return;
    this.base = base;
    this.reconnect('moving');
  }

  /**
   * The live replicas, as the one in use knows them.
   * @param {readonly string[]} urls
   */
  setReplicas(urls) {
    /** @type {string[]} */
    const known = [];
    for (const url of [this.base, ...urls, location.origin]) {
      if (!known.some((other) => sameReplica(other, url))) known.push(url);
    }
    this.#replicas = known;
  }

  /**
   * Publishes through the replica in use. When it does not answer, the same event goes to
   * another one: its event_id sees to it that it counts once.
   * @param {BoardEvent} event
   */
  async publish(event) {
    let base = this.base;
    for (let tries = 1; ; tries++) {
      try {
        return await publishEvent(base, this.#channel, event);
      } catch (error) {
        if ((error instanceof RequestError && error.permanent) || tries === PUBLISH_TRIES) throw error;
        await sleep(150 * 2 ** tries);
        base = sameReplica(base, this.base) ? this.#another(base) ?? base : this.base;
      }
    }
  }

  async #connect() {
    this.#drop();
    const attempt = ++this.#attempt;
    if (this.#cursor === null) {
      try {
        const history = await fetchHistory(this.base, this.#channel, '0-0');
        if (attempt !== this.#attempt) return;
        this.#cursor = history.cursor;
        this.#searched = history.cursor;
        this.#rereadAt = Date.now();
        for (const event of history.events) this.#types.add(event.type);
        this.#hooks.onSnapshot(history.events, history.gap);
      } catch (error) {
        if (attempt === this.#attempt) this.#missed(describe(error));
        return;
      }
    }
    this.#open(this.#cursor);
  }

  /** @param {string} cursor */
  #open(cursor) {
    const query = new URLSearchParams({ channel: this.#channel, lastEventId: cursor, heartbeat: 'event' });
    const source = new EventSource(`${this.base}/v1/events?${query}`);
    this.#source = source;
    let opened = false;

    /** @type {Record<string, (data: any) => void>} */
    const reserved = {
      'gateway.open': (data) => {
        opened = true;
        this.#opened(data);
      },
      'gateway.heartbeat': () => this.#discover(),
      'gateway.gap': (data) => this.#reread(String(data?.reason ?? 'history trimmed')),
      'gateway.close': (data) => this.#closed(data),
      'gateway.error': (data) => this.#hooks.onNotice('gateway.error', String(data?.detail ?? data?.reason ?? '')),
    };
    for (const [name, handle] of Object.entries(reserved)) {
      source.addEventListener(name, (message) => {
        if (this.#heard(source, message)) handle(parse(message.data));
      });
    }
    for (const type of this.#types) this.#listen(source, type);

    source.addEventListener('error', (event) => {
      // An event that somebody published with the type "error" arrives under the same name.
      if (source !== this.#source || event instanceof MessageEvent) return;
      if (opened) this.#lost('stream ended');
      else if (source.readyState === EventSource.CLOSED) this.#refused(cursor);
      else this.#missed('cannot be reached');
    });
    this.#lastHeard = Date.now();
    this.#retryTimer = setTimeout(() => {
      if (source === this.#source && !opened) this.#missed('no answer');
    }, OPEN_TIMEOUT);
  }

  /**
   * @param {EventSource} source
   * @param {string} type
   */
  #listen(source, type) {
    source.addEventListener(type, (message) => {
      if (!this.#heard(source, message)) return;
      const event = parse(message.data);
      if (isEvent(event)) this.#hooks.onEvent(event);
    });
  }

  /**
   * @param {EventSource} source
   * @param {Event} message
   * @returns {message is MessageEvent} false when the stream was given up meanwhile
   */
  #heard(source, message) {
    if (source !== this.#source || !(message instanceof MessageEvent)) return false;
    this.#lastHeard = Date.now();
    if (message.lastEventId !== '') this.#cursor = message.lastEventId;
    return true;
  }

  /** @param {any} data */
  #opened(data) {
    clearTimeout(this.#retryTimer);
    this.#misses = 0;
    this.#openedAt = Date.now();
    this.#failedAt.delete(this.base);
    this.replica = typeof data?.replica === 'string' ? data.replica : '';
    this.#heartbeat = data?.heartbeat > 0 ? data.heartbeat : HEARTBEAT;
    this.#setState('live', '');
    this.#watch();
    this.#hooks.onNotice('gateway.open', hostOf(this.base));
  }

  /** Reconnects when nothing, not even a heartbeat, has come for too long. */
  #watch() {
    clearTimeout(this.#watchTimer);
    if (this.state !== 'live') return;
    const left = this.#lastHeard + this.#heartbeat * SILENCE - Date.now();
    if (left > 0) this.#watchTimer = setTimeout(() => this.#watch(), left);
    else this.#lost('no heartbeat');
  }

  /** @param {any} data */
  #closed(data) {
    const reason = String(data?.reason ?? 'closed');
    this.#hooks.onNotice('gateway.close', reason);
    if (data?.reconnect === false) {
      this.#drop();
      this.#setState('closed', reason);
      return;
    }
    // A replica that drains closes its streams spread over time, so another one can be asked at once.
    const next = reason.includes('drain') ? this.#another(this.base) : null;
    if (next) this.base = next;
    const wait = data?.retry >= 0 ? data.retry : backoff(0);
    this.#retry('reconnecting', reason, next ? Math.min(wait, 300) : wait);
  }

  /**
   * Part of the history is gone: the board is built anew from what there is.
   * @param {string} reason
   */
  #reread(reason) {
    this.#hooks.onNotice('gateway.gap', reason);
    this.#cursor = null;
    const again = Date.now() - this.#rereadAt < STEADY;
    this.#retry('reconnecting', 'reading the board again', again ? STEADY : 0);
  }

  /**
   * A stream that had been open ended.
   * @param {string} reason
   */
  #lost(reason) {
    this.#hooks.onNotice('disconnected', reason);
    if (Date.now() - this.#openedAt > STEADY) this.#failures = 0;
    this.#retry(navigator.onLine ? 'reconnecting' : 'offline', reason, backoff(this.#failures++));
  }

  /**
   * There was an answer, but no stream, and EventSource does not show which. The history
   * gives the same answer where it can be read; a cursor that is not understood is dropped.
   * @param {string} cursor
   */
  async #refused(cursor) {
    this.#drop();
    const attempt = this.#attempt;
    let reason = 'stream refused';
    try {
      await fetchHistory(this.base, this.#channel, cursor);
    } catch (error) {
      reason = describe(error);
      if (error instanceof RequestError && error.status === 400) this.#cursor = null;
    }
    if (attempt === this.#attempt) this.#missed(reason);
  }

  /**
   * An attempt failed.
   * @param {string} reason
   */
  #missed(reason) {
    const failed = this.base;
    this.#failedAt.set(failed, Date.now());
    this.#misses++;
    this.#failures++;
    const allTried = this.#failures > MISSES * this.#replicas.length;
    const next = this.#misses >= MISSES || allTried ? this.#another(failed) : null;
    if (next) {
      this.base = next;
      this.#misses = 0;
      if (!allTried) this.#hooks.onNotice('fail-over', `${hostOf(failed)} → ${hostOf(next)}`);
    }
    const away = allTried || !navigator.onLine;
    const fresh = next !== null && !allTried; // the first time at another replica: no reason to wait
    this.#retry(away ? 'offline' : 'reconnecting', reason, fresh ? 50 : backoff(this.#failures));
  }

  /**
   * @param {State} state
   * @param {string} reason
   * @param {number} delay
   */
  #retry(state, reason, delay) {
    this.#drop();
    this.#setState(state, reason, Date.now() + delay);
    this.#retryTimer = setTimeout(() => this.#connect(), delay);
  }

  #drop() {
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#watchTimer);
    this.#attempt++;
    this.#source?.close();
    this.#source = null;
  }

  /**
   * EventSource has no listener for "any name", and publishers may use names this page does not
   * know. So a heartbeat, which comes when it is quiet, has what came since the last one looked
   * through for new names; from then on they are heard at once.
   */
  async #discover() {
    const source = this.#source;
    if (source === null || this.#searched === this.#cursor) return;
    const history = await fetchHistory(this.base, this.#channel, this.#searched).catch(() => null);
    if (source !== this.#source || history === null) return;
    this.#searched = history.cursor;
    for (const event of history.events.filter(({ type }) => !this.#types.has(type))) {
      this.#hooks.onEvent(event);
    }
    for (const { type } of history.events) {
      if (!this.#types.has(type)) this.#listen(source, type);
      this.#types.add(type);
    }
  }

  /**
   * The known replica, other than this one, whose last failure is longest ago.
   * @param {string} base
   * @returns {string | null}
   */
  #another(base) {
    const others = this.#replicas.filter((url) => !sameReplica(url, base));
    const failedAt = (/** @type {string} */ url) => this.#failedAt.get(url) ?? 0;
    return others.sort((a, b) => failedAt(a) - failedAt(b))[0] ?? null;
  }

  /**
   * @param {State} state
   * @param {string} reason
   * @param {number} [retryAt] when the next attempt starts; 0: now, or never
   */
  #setState(state, reason, retryAt = 0) {
    this.state = state;
    this.#hooks.onState(state, { reason, retryAt });
  }
}

/**
 * Whether two addresses are one replica: localhost and 127.0.0.1 are.
 * @param {string} a
 * @param {string} b
 */
export function sameReplica(a, b) {
  const canonical = (/** @type {string} */ url) => hostOf(url).replace('localhost', '127.0.0.1');
  return canonical(a) === canonical(b);
}

/** @param {string} url */
export function hostOf(url) {
  return new URL(url).host;
}

/**
 * Doubles from 200 ms to 10 s, a random half of it taken off, so that clients do not return together.
 * @param {number} failures
 */
function backoff(failures) {
  return Math.min(10_000, 200 * 2 ** Math.min(failures, 6)) * (0.5 + Math.random() / 2);
}

/** @param {unknown} error */
function describe(error) {
  return error instanceof RequestError ? error.message : 'cannot be reached';
}

/** @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** @param {number} ms */
function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
