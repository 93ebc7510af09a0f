// Wires board, connection and page together.

import { fetchDev } from './api.js';
import * as boards from './board.js';
import { byId } from './dom.js';
import { Gateway } from './gateway.js';
import {
  announce, banner, logEvent, logNotice, reasonOf, showCommands, showRefusal, showReplicas, showState, toast,
} from './panels.js';
import { hostOf, sameReplica } from './replicas.js';
import { BoardView, LABELS, titleOf } from './view.js';

/** @typedef {import('./board.js').BoardEvent} BoardEvent */

const CHANNEL = 'project:demo:tasks';
const REPLICAS_EVERY = 4000;

let board = boards.emptyBoard();
let loaded = false;
/** Tasks changed by others since the last drawing. @type {Set<string>} */
let touched = new Set();
/** Events published by this window. @type {Set<string>} */
const own = new Set();
/** @type {{host: string, port: string, prefix: string, functions: boolean} | null} */
let info = null;
let before = '';
let drawing = false;

const view = new BoardView(byId('board'), { move, rename, remove });
const gateway = new Gateway(location.origin, CHANNEL, {
  onState(state) {
    drawState();
    const why = reasonOf(state);
    const notice = [state.status, why].join(' ');
    if (notice === before) return; // another attempt
    before = notice;
    logNotice(state.status, why || hostOf(gateway.base));
    if (state.status === 'live') askReplicas();
  },
  onSnapshot(events) {
    // What came while there was no connection is news, and what was there at first is not.
    const fresh = loaded ? events.filter((event) => !boards.hasSeen(board, event)) : [];
    board = boards.rebuild(board, events);
    loaded = true;
    fresh.forEach(tell);
    byId('board').removeAttribute('aria-busy');
    draw();
  },
  onEvent(event) {
    if (boards.hasSeen(board, event)) return;
    board = boards.receive(board, [event]);
    tell(event);
    drawSoon();
  },
  onGap({ reason, count }) {
    const what = count === undefined ? 'Events' : count === 1 ? '1 event' : `${count} events`;
    logNotice('gap', `${what} missing (${reason}): the board is read again`);
    banner(`${what} could not be delivered any more (${reason}). The board was read again from what its history still has.`);
  },
  onMove: (from, to) => logNotice('moved', `${hostOf(from)} → ${hostOf(to)}`),
});

/**
 * Shows in the log, and on the card, what the board has just taken.
 * @param {BoardEvent} event
 */
function tell(event) {
  const mine = event.event_id !== undefined && own.delete(event.event_id);
  const id = boards.idOf(event);
  if (id !== null && !mine) touched.add(id);
  logEvent(event, summary(event), mine);
}

/**
 * Shows the event at once, publishes it, and takes it back if that fails.
 * @param {BoardEvent} event
 * @param {string} what for the message if it fails
 */
async function publish(event, what) {
  const id = /** @type {string} */ (event.event_id);
  own.add(id);
  board = boards.propose(board, event);
  draw();
  try {
    await gateway.publish(event);
  } catch (error) {
    if (board.seen.has(id)) return; // it arrived all the same
    board = boards.withdraw(board, id);
    draw();
    const reason = error instanceof Error && 'status' in error ? error.message : 'the gateway does not answer';
    toast(`${what} was not saved: ${reason}`, 'error', 'Try again', () => publish(event, what));
  }
}

/**
 * @param {string} type
 * @param {Record<string, unknown>} data
 * @returns {BoardEvent}
 */
function newEvent(type, data) {
  return { type, event_id: crypto.randomUUID(), data };
}

/** @param {string} title */
function add(title) {
  const columns = boards.columnsOf(board);
  const id = crypto.randomUUID();
  const order = boards.orderAt(columns, id, 'todo', columns.todo.length);
  publish(newEvent('task_created', { id, title, status: 'todo', order }), `“${title}”`);
  announce(`Added ${title}`);
}

/**
 * @param {string} id
 * @param {import('./board.js').Status} status
 * @param {number} index
 */
function move(id, status, index) {
  const columns = boards.columnsOf(board);
  const found = boards.findTask(columns, id);
  if (!found || (found.task.status === status && found.index === index)) return;
  const { task } = found;
  const order = boards.orderAt(columns, id, status, index);
  const event =
    task.status === status
      ? newEvent('task_updated', { id, order })
      : newEvent('task_status_changed', { id, status, order, title: task.title });
  publish(event, `Moving “${titleOf(task)}”`);
  announce(`${titleOf(task)}: ${LABELS[status]}, position ${index + 1}`);
}

/**
 * @param {string} id
 * @param {string} title
 */
function rename(id, title) {
  publish(newEvent('task_updated', { id, title }), `Renaming to “${title}”`);
  announce(`Renamed to ${title}`);
}

/** @param {string} id */
function remove(id) {
  const found = boards.findTask(boards.columnsOf(board), id);
  if (!found) return;
  const { pending, ...task } = found.task;
  publish(newEvent('task_deleted', { id }), `Deleting “${titleOf(task)}”`);
  toast(`“${titleOf(task)}” deleted`, 'info', 'Undo', () => {
    publish(newEvent('task_created', task), `“${titleOf(task)}”`);
    view.focus(id);
  });
}

function drawState() {
  const { base, state, replicas } = gateway;
  // Behind a load balancer the address does not tell which replica it is, but the replica does.
  const direct = replicas.length === 0 || replicas.some((url) => sameReplica(url, base));
  const server = direct ? hostOf(base) : state.open?.replica ?? hostOf(base);
  showState(state, server);
  showRefusal(state.status === 'closed' ? state.error : null);
  showReplicas(replicas, direct ? base : replicas.find((url) => hostOf(url) === server) ?? '', (url) => gateway.moveTo(url));
  byId('second').setAttribute('href', `${base}/`);
}

function draw() {
  view.render(boards.columnsOf(board), touched);
  touched = new Set();
  drawCommands();
}

/** Draws once, however many events arrive before the next frame. */
function drawSoon() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    draw();
  });
}

/**
 * @param {BoardEvent} event
 * @returns {string}
 */
function summary(event) {
  const id = boards.idOf(event);
  if (id === null || !boards.TASK_TYPES.includes(event.type)) {
    const { channel, event_id, timestamp, type, data, ...rest } = event;
    try {
      return JSON.stringify(data ?? rest).slice(0, 200);
    } catch {
      return '(too deep to be shown)'; // thousands of levels: the board must be drawn all the same
    }
  }
  const data = /** @type {Record<string, unknown>} */ (event.data);
  const task = board.tasks.get(id);
  const title = typeof data.title === 'string' && data.title ? data.title : task ? titleOf(task) : id.slice(0, 8);
  return event.type === 'task_status_changed' && task ? `${title} → ${LABELS[task.status]}` : title;
}

/** Asks who else serves, so that there is somewhere to go when this replica does not. */
async function askReplicas() {
  if (gateway.state.status !== 'live') return;
  const answer = await fetchDev(gateway.base, 'replicas');
  if (!Array.isArray(answer)) return;
  gateway.replicas = answer.map((replica) => replica?.url).filter(isLoopback).map((url) => new URL(url).origin).sort();
  drawState();
}

async function askInfo() {
  const answer = await fetchDev(location.origin, 'info');
  // These end up in somebody's shell, so nothing but a plain address and a plain word will do.
  const [, host, port] = /^([\w.-]+):(\d+)$/.exec(answer?.redis ?? '') ?? [];
  if (!host) return;
  const prefix = /^[\w.-]+$/.test(answer.prefix) ? answer.prefix : 'gw';
  info = { host, port, prefix, functions: answer.functions !== false };
  drawCommands();
}

/**
 * The first free id of a task after another.
 * @param {number} n
 */
function freeAfter(n) {
  do n++;
  while (board.tasks.has(`t${n}`) || board.deleted.has(`t${n}`));
  return n;
}

/** The commands name task ids that are still free, each its own, so that each of them adds a task. */
function drawCommands() {
  if (!info) return;
  const plain = freeAfter(0);
  const cli = `redis-cli${isLoopback(`http://${info.host}`) ? '' : ` -h ${info.host}`} -p ${info.port}`;
  const payload = (/** @type {number} */ n, /** @type {string} */ title) =>
    `'${JSON.stringify({ type: 'task_created', data: { id: `t${n}`, title, status: 'todo' } })}'`;
  const commands = [
    { title: 'Publish, the simple way', command: `${cli} PUBLISH ${CHANNEL} ${payload(plain, 'from PUBLISH')}` },
    {
      title: 'Publish reliably, in one round trip',
      command: `${cli} FCALL gateway_publish 1 ${info.prefix}:${CHANNEL} ${payload(freeAfter(plain), 'from redis-cli')}`,
    },
    { title: 'Subscribe', command: `curl -N '${gateway.base}/v1/events?channel=${CHANNEL}'` },
  ];
  showCommands(info.functions ? commands : commands.filter(({ command }) => !command.includes(' FCALL ')));
}

/** @param {unknown} url */
function isLoopback(url) {
  return typeof url === 'string' && /^http:\/\/(127\.0\.0\.1|localhost)(:\d+)?\/?$/.test(url);
}

byId('channel').textContent = CHANNEL;
for (const id of ['try-now', 'return']) byId(id).addEventListener('click', () => gateway.reconnect());
byId('banner-close').addEventListener('click', () => banner(''));
byId('composer').addEventListener('submit', (event) => {
  event.preventDefault();
  const input = /** @type {HTMLInputElement} */ (byId('new-title'));
  const title = input.value.trim();
  input.value = '';
  input.focus();
  if (title) add(title);
});
document.addEventListener('keydown', (event) => {
  const typing = event.target instanceof Element && event.target.closest('input, textarea');
  if (event.key !== 'n' || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  byId('new-title').focus();
});

drawState();
askInfo();
setInterval(askReplicas, REPLICAS_EVERY);
