// The board's connection: the client library's, shared by all windows of this origin.
//
// The library continues exactly where it stopped, at whichever replica its address leads to. Here
// are added what only this page has: a board that is read from the history of its channel, and
// replicas without a load balancer before them, so that somebody has to go to another one.

import { fetchHistory, publishEvent, RequestError } from './api.js';
import { connectShared } from './client/shared.js';
import { nextReplica, sameReplica } from './replicas.js';

/**
 * @typedef {import('./board.js').BoardEvent} BoardEvent
 * @typedef {import('../client/src/types.js').ConnectionState} ConnectionState
 * @typedef {import('../client/src/types.js').Gap} Gap
 *
 * @typedef {object} Hooks
 * @property {(state: ConnectionState) => void} onState
 * @property {(events: BoardEvent[]) => void} onSnapshot the whole history: start over from it
 * @property {(event: BoardEvent) => void} onEvent one event, not necessarily for the first time
 * @property {(gap: Gap) => void} onGap events are missing; a snapshot follows
 * @property {(from: string, to: string) => void} onMove to another replica, as the one in use does not answer
 */

/** A board on a screen should not wait for longer than this, in ms, between two attempts. */
const MAX_DELAY = 10_000;
/** Attempts at one replica before another is tried; one more after each that fails too, up to MOST. */
const ATTEMPTS = 2;
const MOST = 6;
/** How long in ms to wait before a history that could not be read is read again. */
const READ_AGAIN = 2000;
const PUBLISH_TRIES = 3;

export class Gateway {
  /** Address of the replica in use. */
  base;
  /** Addresses of the live replicas, sorted. @type {readonly string[]} */
  replicas = [];

  #origin;
  #channel;
  #hooks;
  /** @type {import('../client/src/types.js').Connection<any>} */
  #connection;
  #moves = 0; // since it was live last
  /** What has come and waits until the board is read, which is older; null where it is. @type {BoardEvent[] | null} */
  #arrived = null;
  /** The reading that is under way. @type {symbol | null} */
  #reading = null;
  #readTimer = 0;

  /**
   * @param {string} origin
   * @param {string} channel
   * @param {Hooks} hooks
   */
  constructor(origin, channel, hooks) {
    this.base = origin;
    this.#origin = origin;
    this.#channel = channel;
    this.#hooks = hooks;
    this.#connection = this.#connect();
  }

  /** @returns {ConnectionState} */
  get state() {
    return this.#connection.state;
  }

  /** Tries now, and also after a refusal. */
  reconnect() {
    this.#connection.reconnect();
  }

  /**
   * Moves to another replica.
   * @param {string} base
   */
  moveTo(base) {
    if (sameReplica(base, this.base)) return;
    const before = this.#connection;
    this.base = base;
    this.#connection = this.#connect();
    before.close();
    this.#hooks.onState(this.state);
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
        await new Promise((resolve) => setTimeout(resolve, 150 * 2 ** tries));
        base = sameReplica(base, this.base) ? this.#after(base) ?? base : this.base;
      }
    }
  }

  #connect() {
    // Without a key of its own, as everybody may read everything here.
    const connection = connectShared(this.base, { storageKey: '', credentials: 'omit', maxDelay: MAX_DELAY });
    const channel = connection.channel(this.#channel);
    const mine = () => connection === this.#connection;
    clearTimeout(this.#readTimer);
    this.#arrived = [];
    this.#reading = null;
    channel.on('*', (event) => {
      if (!mine()) return;
      if (this.#arrived) this.#arrived.push(event);
      else this.#hooks.onEvent(event);
    });
    channel.onGap((gap) => {
      if (!mine()) return;
      this.#hooks.onGap(gap);
      this.#arrived ??= [];
      this.#read();
    });
    connection.onState((state) => {
      if (!mine()) return;
      this.#hooks.onState(state);
      if (state.status === 'live') this.#moves = 0;
      if (channel.open && this.#arrived && !this.#reading) this.#read();
      if (state.status === 'reconnecting' && state.attempt >= Math.min(ATTEMPTS + this.#moves, MOST)) this.#goOn();
    });
    return connection;
  }

  /**
   * The next replica, if there is one. Where the page came from is always among them: it may be a
   * load balancer, or a replica that is about to come back.
   * @param {string} base
   */
  #after(base) {
    const known = this.replicas.some((url) => sameReplica(url, this.#origin));
    return nextReplica(known ? this.replicas : [...this.replicas, this.#origin], base);
  }

  /** Goes to the next replica, if there is one. */
  #goOn() {
    const from = this.base;
    const next = this.#after(from);
    if (!next) return;
    this.#moves++;
    this.#hooks.onMove(from, next);
    this.moveTo(next);
  }

  /**
   * Reads the board. The channel is on the stream already, so what is published meanwhile comes
   * there, and is laid over what was read.
   */
  async #read() {
    clearTimeout(this.#readTimer);
    const reading = Symbol('reading');
    this.#reading = reading;
    const history = await fetchHistory(this.base, this.#channel).catch(() => null);
    if (this.#reading !== reading) return; // another one has begun
    this.#reading = null;
    if (history) {
      const arrived = this.#arrived ?? [];
      this.#arrived = null;
      this.#hooks.onSnapshot([...history, ...arrived]);
    } else this.#readTimer = setTimeout(() => this.state.status === 'live' && this.#read(), READ_AGAIN);
  }
}
