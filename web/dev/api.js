// The gateway's plain HTTP requests. The stream is the client library's, see gateway.js.

/** @typedef {import('./board.js').BoardEvent} BoardEvent */

const TIMEOUT = 5000;
const PAGE = 1000;

/** A refusal by the gateway, with its own words where it sent any. */
export class RequestError extends Error {
  /**
   * @param {number} status
   * @param {string} message
   */
  constructor(status, message) {
    super(message);
    this.status = status;
  }

  /** Whether the same request would be refused again. */
  get permanent() {
    return this.status >= 400 && this.status < 500 && this.status !== 408 && this.status !== 429;
  }
}

/**
 * Reads a channel's whole history, page by page.
 * @param {string} base
 * @param {string} channel
 * @returns {Promise<BoardEvent[]>}
 */
export async function fetchHistory(base, channel) {
  /** @type {BoardEvent[]} */
  const events = [];
  for (let cursor = '0-0'; ; ) {
    const query = new URLSearchParams({ after: cursor, limit: String(PAGE) });
    const page = await request(`${base}/v1/channels/${channel}/events?${query}`);
    events.push(...page.events);
    // A page that does not move on would be asked for again for ever.
    if (!page.more || page.cursor === cursor) return events;
    cursor = page.cursor;
  }
}

/**
 * Publishes one event. Safe to repeat: the gateway takes the same eventId once.
 * @param {string} base
 * @param {string} channel
 * @param {BoardEvent} event
 */
export async function publishEvent(base, channel, event) {
  const query = new URLSearchParams({ eventId: event.event_id });
  await request(`${base}/v1/channels/${channel}/events?${query}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(event),
  });
}

/**
 * Reads what only a gateway in dev mode offers; null where it does not.
 * @param {string} base
 * @param {'info' | 'replicas'} name
 * @returns {Promise<any>}
 */
export function fetchDev(base, name) {
  return request(`${base}/dev/${name}`).catch(() => null);
}

/**
 * @param {string} url
 * @param {RequestInit} [init]
 * @returns {Promise<any>}
 */
async function request(url, init) {
  const response = await fetch(url, {
    ...init,
    cache: 'no-store',
    credentials: 'omit',
    signal: AbortSignal.timeout(TIMEOUT),
  });
  const body = await response.json().catch(() => null);
  if (!response.ok) {
    // RFC 9457: detail explains this occurrence, title the kind of problem.
    throw new RequestError(response.status, body?.detail ?? body?.title ?? `status ${response.status}`);
  }
  return body ?? {};
}
