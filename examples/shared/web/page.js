// What the pages of the examples share: elements, requests, toasts, and how the connection is shown.

/**
 * Makes an element. Text is always text: what others wrote never becomes HTML.
 *
 * @param {string} name
 * @param {Record<string, unknown>} [props] properties, `data-…` and `aria-…` attributes, and `on…` handlers
 * @param {...(Node | string)} children
 */
export function el(name, props = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(props)) {
    if (key.includes('-') || key === 'role') element.setAttribute(key, String(value));
    else element[key] = value;
  }
  element.append(...children);
  return element;
}

/** @param {string} id */
export const byId = (id) => document.getElementById(id);

/** A refusal by the example's service: an error of the application, and no matter of the connection. */
export class ServiceError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/**
 * Asks the example's service.
 *
 * @param {string} method
 * @param {string} path
 * @param {{ body?: unknown, token?: string, headers?: Record<string, string> }} [options]
 * @throws {ServiceError} where it refuses, or cannot be reached
 */
export async function ask(method, path, { body, token, headers } = {}) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: { ...(token && { authorization: `Bearer ${token}` }), ...headers },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
  } catch {
    throw new ServiceError(0, 'The service cannot be reached.');
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok)
    throw new ServiceError(response.status, answer?.error ?? `The service answered ${response.status}.`);
  return answer;
}

const toasts = el('div', { className: 'toasts', role: 'status' });
document.body.append(toasts);

/**
 * Tells the user something for some seconds.
 *
 * @param {string} text
 * @param {'note' | 'error'} [kind]
 */
export function toast(text, kind = 'note') {
  const element = el('p', { className: 'toast', 'data-kind': kind }, text);
  toasts.append(element);
  setTimeout(() => element.remove(), 6000);
}

/** What a click, a form or an event starts, telling the user where it was refused. */
export function act(work) {
  return async (from) => {
    if (from instanceof Event) from.preventDefault();
    try {
      await work(from);
    } catch (error) {
      toast(error.message, 'error');
    }
  };
}

const WORDS = {
  connecting: 'Connecting',
  live: 'Live',
  reconnecting: 'Reconnecting',
  offline: 'Offline',
  closed: 'Disconnected',
};

/**
 * Shows how a connection is, in `#connection`. It is an error of the way that shows here, and passes by itself; errors
 * of the application are for who started what was refused.
 *
 * @param {import('@realtime-gateway/client').Connection<any>} connection
 */
export function showConnection(connection) {
  const place = byId('connection');
  place.className = 'connection';
  place.setAttribute('role', 'status');
  const show = () => {
    const { status, reason, retryAt } = connection.state;
    place.dataset.status = status;
    place.title = reason;
    place.replaceChildren(WORDS[status]);
    if (retryAt !== null && retryAt - Date.now() > 2000) {
      place.append(
        el('button', { className: 'small', type: 'button', onclick: () => connection.reconnect() }, 'Try now'),
      );
    }
  };
  show();
  return connection.onState(show);
}

/** Who this window is: `?as=bob`, so that two windows are two people. */
export const me = new URLSearchParams(location.search).get('as') ?? 'alice';

/** Fills `#people` with links by which the window becomes somebody else. */
export function showPeople(names) {
  byId('people').replaceChildren(
    ...names.map((name) => el('a', { href: `?as=${name}`, ...(name === me && { 'aria-current': 'page' }) }, name)),
  );
}
