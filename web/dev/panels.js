// Everything around the board: connection state, replicas, event log, commands to copy, messages.

import { byId, part, stamp } from './dom.js';
import { hostOf, sameReplica } from './replicas.js';

/**
 * @typedef {import('./board.js').BoardEvent} BoardEvent
 * @typedef {import('../client/src/types.js').ConnectionState} ConnectionState
 * @typedef {import('../client/src/errors.js').GatewayError} GatewayError
 */

const LOG_SIZE = 50;
const TOAST_MS = 7000;

/** @type {Record<ConnectionState['status'], string>} */
const STATE_LABELS = {
  connecting: 'Connecting',
  live: 'Live',
  reconnecting: 'Reconnecting',
  offline: 'Offline',
  closed: 'Closed',
};

/** The reasons of a state, in a person's words. @type {Record<string, string>} */
const REASONS = {
  network: 'no network',
  timeout: 'no answer in time',
  silent: 'nothing heard for too long',
  ended: 'the stream broke off',
  protocol: 'the answer is no event stream',
  draining: 'the replica is leaving',
  max_age: 'a planned change of replica',
  unavailable: 'Redis cannot be reached',
  full: 'the replica is full',
  limit: 'too many connections',
  slow: 'this window was too slow',
  takeover: 'another window takes the connection over',
  reconnect: 'trying now',
};

/**
 * Why the connection is as it is; empty while it is live.
 * @param {ConnectionState} state
 */
export function reasonOf({ status, reason, error }) {
  if (reason === 'http' || (reason === 'network' && error && status !== 'offline')) return error?.message ?? '';
  return REASONS[reason] ?? reason.replaceAll('_', ' ');
}

let countdown = 0;

/**
 * @param {ConnectionState} state
 * @param {string} server
 */
export function showState(state, server) {
  const { status, retryAt } = state;
  clearInterval(countdown);
  byId('state').dataset.state = status;
  // Only the word is announced, and only when it changes; the countdown beside it would never stop talking.
  if (byId('state-label').textContent !== STATE_LABELS[status]) byId('state-label').textContent = STATE_LABELS[status];
  byId('try-now').hidden = status !== 'reconnecting' && status !== 'offline';
  const why = reasonOf(state);
  const show = () => {
    const seconds = retryAt === null ? 0 : Math.ceil((retryAt - Date.now()) / 1000);
    const wait = seconds > 0 ? `next attempt in\u00a0${seconds}\u00a0s` : '';
    byId('state-detail').textContent =
      status === 'live' ? `served by ${server}` : status === 'closed' ? '' : [why, wait].filter(Boolean).join(', ');
  };
  show();
  if (retryAt !== null) countdown = setInterval(show, 250);
}

/** Who refused what, by the code of the error. @type {Record<string, string>} */
const REFUSALS = {
  revoked: 'You have been signed out',
  unauthorized: 'You are not signed in',
  forbidden: 'You may not see this board',
  channel_lost: 'You may not see this board any more',
};

/**
 * Shows what the gateway refused for good, apart from the state of the connection: trying again
 * would not change it.
 * @param {GatewayError | null} error
 */
export function showRefusal(error) {
  const shown = error !== null && error.kind === 'application';
  const box = byId('refusal');
  const was = !box.hidden;
  box.hidden = !shown;
  byId('board').inert = shown;
  if (!shown) return;
  byId('refusal-title').textContent = REFUSALS[error.code] ?? 'The gateway refuses this connection';
  byId('refusal-text').textContent = error.reason ? `Reason: ${error.reason.replaceAll('_', ' ')}.` : error.problem?.detail ?? error.message;
  if (!was) byId('return').focus();
}

/**
 * @param {readonly string[]} urls
 * @param {string} current empty where none of them is known to be in use
 * @param {(url: string) => void} choose
 */
export function showReplicas(urls, current, choose) {
  const list = byId('replica-list');
  const key = JSON.stringify([urls, current]);
  byId('replicas').hidden = urls.length < 2;
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  const focused = list.contains(document.activeElement) ? document.activeElement?.textContent : null;
  list.replaceChildren(
    ...urls.map((url) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = hostOf(url);
      button.setAttribute('aria-pressed', String(current !== '' && sameReplica(url, current)));
      button.addEventListener('click', () => choose(url));
      return button;
    }),
  );
  for (const button of list.children) {
    if (focused && button.textContent === focused) /** @type {HTMLElement} */ (button).focus();
  }
}

/** Latencies of the events in the log, newest first. @type {number[]} */
let latencies = [];

/**
 * @param {BoardEvent} event
 * @param {string} text
 * @param {boolean} own published by this window
 */
export function logEvent(event, text, own) {
  const sent = Date.parse(event.timestamp ?? '');
  const latency = Number.isNaN(sent) ? null : Math.max(0, Date.now() - sent);
  const row = addRow(event.type, text);
  row.classList.toggle('own', own);
  if (own) row.title = 'published by this window';
  if (latency === null) return;
  part(row, '.latency').textContent = duration(latency);
  latencies = [latency, ...latencies].slice(0, LOG_SIZE);
  const median = [...latencies].sort((a, b) => a - b)[Math.floor(latencies.length / 2)];
  byId('log-summary').textContent = `median latency ${duration(median)}`;
}

/**
 * A line about the connection itself.
 * @param {string} name its state, or what happened
 * @param {string} text
 */
export function logNotice(name, text) {
  const row = addRow(name, text);
  row.classList.add('notice');
  row.dataset.state = name;
}

/**
 * @param {string} type
 * @param {string} text
 */
function addRow(type, text) {
  const row = stamp('log-row');
  const now = new Date();
  const time = /** @type {HTMLTimeElement} */ (part(row, 'time'));
  time.dateTime = now.toISOString();
  time.textContent = now.toTimeString().slice(0, 8);
  part(row, '.type').textContent = type;
  part(row, '.text').textContent = text;
  const log = byId('log');
  log.prepend(row);
  while (log.children.length > LOG_SIZE) log.lastElementChild?.remove();
  byId('log-empty').hidden = true;
  return row;
}

/** @param {number} ms */
function duration(ms) {
  if (ms < 1000) return `${ms} ms`;
  return ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 60_000)} min`;
}

/**
 * @param {readonly {title: string, command: string}[]} commands
 */
export function showCommands(commands) {
  byId('try').hidden = commands.length === 0;
  const list = byId('try-list');
  commands.forEach(({ title, command }, index) => {
    if (!list.children[index]) {
      const added = stamp('try-row');
      const button = part(added, 'button');
      button.addEventListener('click', () => copy(part(added, 'code'), button));
      list.append(added);
    }
    const row = list.children[index];
    part(row, 'p').textContent = title;
    part(row, 'button').setAttribute('aria-label', `Copy: ${title}`);
    const code = part(row, 'code');
    if (code.textContent !== command) code.textContent = command; // leaves a selection alone
  });
  while (list.children.length > commands.length) list.lastElementChild?.remove();
}

/**
 * @param {HTMLElement} code
 * @param {HTMLElement} button
 */
async function copy(code, button) {
  try {
    await navigator.clipboard.writeText(code.textContent ?? '');
    button.textContent = 'Copied';
    setTimeout(() => (button.textContent = 'Copy'), 1500);
  } catch {
    getSelection()?.selectAllChildren(code); // no right to the clipboard: at least select it
  }
}

/**
 * A message that goes away by itself, with one thing to do about it.
 * @param {string} text
 * @param {'info' | 'error'} kind
 * @param {string} action
 * @param {() => void} run
 */
export function toast(text, kind, action, run) {
  const box = document.createElement('div');
  box.className = `toast ${kind}`;
  box.setAttribute('role', kind === 'error' ? 'alert' : 'status');
  const message = document.createElement('span');
  message.textContent = text;
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'plain';
  button.textContent = action;
  button.addEventListener('click', () => {
    box.remove();
    run();
  });
  box.append(message, button);
  const toasts = byId('toasts');
  toasts.append(box);
  while (toasts.children.length > 3) toasts.firstElementChild?.remove();
  const expire = () => (box.matches(':hover, :focus-within') ? setTimeout(expire, 1000) : box.remove());
  setTimeout(expire, TOAST_MS);
}

/** @param {string} text */
export function announce(text) {
  byId('announcer').textContent = text;
}

/** @param {string} text nothing: no banner */
export function banner(text) {
  byId('banner-text').textContent = text;
  byId('banner').hidden = text === '';
}
