// The board as a pure function of events: no DOM, no network, no clock.
//
// What is confirmed (came from history or stream) and what is only proposed by
// this window are kept apart. The board shown is the first with the second laid
// over it, so a roll-back is nothing more than dropping a proposal.

/**
 * @typedef {'todo'|'doing'|'done'} Status
 * @typedef {{id: string, title: string, status: Status, order: number, assignee: string}} Task
 * @typedef {Task & {pending: boolean}} ShownTask
 * @typedef {Record<Status, ShownTask[]>} Columns
 *
 * An event as the gateway delivers it. Anyone may publish, so nothing in `data` is taken for granted.
 * @typedef {{type: string, event_id?: string, timestamp?: string, channel?: string, data?: unknown}} BoardEvent
 *
 * @typedef {object} Board
 * @property {ReadonlyMap<string, Task>} tasks confirmed tasks
 * @property {ReadonlySet<string>} deleted ids of deleted tasks, so that a late update does not bring one back
 * @property {ReadonlySet<string>} seen event ids already applied, oldest first
 * @property {readonly BoardEvent[]} pending proposals of this window, oldest first
 */

/** @type {readonly Status[]} */
export const STATUSES = ['todo', 'doing', 'done'];

/** The event types that the reducer understands. */
export const TASK_TYPES = ['task_created', 'task_updated', 'task_status_changed', 'task_assigned', 'task_deleted'];

/** Distance between neighbours, so that many moves fit between two tasks. */
const STEP = 1024;

/** How many ids are remembered. A reconnect resumes at its cursor and so never reaches further back than this. */
const REMEMBERED = 5000;

/** @returns {Board} */
export function emptyBoard() {
  return { tasks: new Map(), deleted: new Set(), seen: new Set(), pending: [] };
}

/**
 * Whether the event was applied before.
 * @param {Board} board
 * @param {BoardEvent} event
 */
export function hasSeen(board, event) {
  return event.event_id !== undefined && board.seen.has(event.event_id);
}

/**
 * Applies confirmed events, each once, and settles the proposals they confirm.
 * @param {Board} board
 * @param {readonly BoardEvent[]} events
 * @returns {Board}
 */
export function receive(board, events) {
  const fresh = events.filter((event) => !hasSeen(board, event));
  if (fresh.length === 0) return board;
  const tasks = new Map(board.tasks);
  const deleted = new Set(board.deleted);
  const seen = new Set(board.seen);
  for (const event of fresh) {
    if (event.event_id !== undefined) {
      if (seen.has(event.event_id)) continue; // twice in one batch
      remember(seen, event.event_id);
    }
    apply(tasks, deleted, event);
  }
  return { tasks, deleted, seen, pending: unsettled(board.pending, seen) };
}

/**
 * Starts over from the whole history. Proposals that it does not contain stay proposals.
 * @param {Board} board
 * @param {readonly BoardEvent[]} events
 * @returns {Board}
 */
export function rebuild(board, events) {
  return receive({ ...emptyBoard(), pending: board.pending }, events);
}

/**
 * Shows an event before the gateway has confirmed it.
 * @param {Board} board
 * @param {BoardEvent} event
 * @returns {Board}
 */
export function propose(board, event) {
  if (hasSeen(board, event)) return board;
  return { ...board, pending: [...board.pending, event] };
}

/**
 * Rolls a proposal back.
 * @param {Board} board
 * @param {string} eventId
 * @returns {Board}
 */
export function withdraw(board, eventId) {
  return { ...board, pending: board.pending.filter((event) => event.event_id !== eventId) };
}

/**
 * What to show: confirmed tasks with the proposals laid over them, sorted.
 * @param {Board} board
 * @returns {Columns}
 */
export function columnsOf(board) {
  const tasks = new Map(board.tasks);
  const deleted = new Set(board.deleted);
  const waiting = new Set();
  for (const event of board.pending) {
    apply(tasks, deleted, event);
    waiting.add(idOf(event));
  }
  /** @type {Columns} */
  const columns = { todo: [], doing: [], done: [] };
  for (const task of tasks.values()) {
    columns[task.status].push({ ...task, pending: waiting.has(task.id) });
  }
  for (const status of STATUSES) {
    columns[status].sort((a, b) => a.order - b.order || (a.id < b.id ? -1 : 1));
  }
  return columns;
}

/**
 * Where a task lands when it is put at `index` of a column, counted without the task itself.
 * The place between two neighbours is not exactly the middle, so that two windows that use
 * the same gap at the same time do not end up with equal orders.
 * @param {Columns} columns
 * @param {string} id
 * @param {Status} status
 * @param {number} index
 * @param {() => number} [random]
 * @returns {number}
 */
export function orderAt(columns, id, status, index, random = Math.random) {
  const others = columns[status].filter((task) => task.id !== id);
  const before = others[index - 1];
  const after = others[index];
  if (before && after) return before.order + (after.order - before.order) * (0.4 + 0.2 * random());
  if (before) return before.order + STEP;
  if (after) return after.order - STEP;
  return 0;
}

/**
 * @param {Columns} columns
 * @param {string} id
 * @returns {{task: ShownTask, index: number} | null}
 */
export function findTask(columns, id) {
  for (const status of STATUSES) {
    const index = columns[status].findIndex((task) => task.id === id);
    if (index >= 0) return { task: columns[status][index], index };
  }
  return null;
}

/**
 * @param {Map<string, Task>} tasks changed in place
 * @param {Set<string>} deleted changed in place
 * @param {BoardEvent} event
 */
function apply(tasks, deleted, event) {
  const id = idOf(event);
  if (id === null) return;
  const data = /** @type {Record<string, unknown>} */ (event.data);
  switch (event.type) {
    case 'task_created':
      deleted.delete(id);
      put(tasks, id, data);
      break;
    case 'task_updated':
    case 'task_assigned':
      if (!deleted.has(id)) put(tasks, id, data);
      break;
    case 'task_status_changed':
      // The title only helps where the event that created the task was trimmed:
      // a move must not undo a rename that happened at the same time.
      if (!deleted.has(id)) put(tasks, id, tasks.has(id) ? { status: data.status, order: data.order } : data);
      break;
    case 'task_deleted':
      tasks.delete(id);
      remember(deleted, id);
      break;
  }
}

/**
 * @param {Map<string, Task>} tasks
 * @param {string} id
 * @param {Record<string, unknown>} data
 */
function put(tasks, id, data) {
  const old = tasks.get(id);
  const status = isStatus(data.status) ? data.status : old?.status ?? 'todo';
  const stays = old !== undefined && old.status === status;
  const order = Number.isFinite(data.order) ? Number(data.order) : stays ? old.order : lastOrder(tasks, status) + STEP;
  const title = typeof data.title === 'string' ? data.title : old?.title ?? '';
  const assignee = typeof data.assignee === 'string' ? data.assignee : old?.assignee ?? '';
  tasks.set(id, { id, title, status, order, assignee });
}

/**
 * @param {ReadonlyMap<string, Task>} tasks
 * @param {Status} status
 */
function lastOrder(tasks, status) {
  let last = 0;
  for (const task of tasks.values()) {
    if (task.status === status && task.order > last) last = task.order;
  }
  return last;
}

/**
 * The task an event is about, or null where it names none.
 * @param {BoardEvent} event
 * @returns {string | null}
 */
export function idOf(event) {
  const data = event.data;
  if (typeof data !== 'object' || data === null || !('id' in data)) return null;
  if (typeof data.id === 'number') return String(data.id);
  return typeof data.id === 'string' && data.id !== '' ? data.id : null;
}

/**
 * @param {unknown} value
 * @returns {value is Status}
 */
function isStatus(value) {
  return STATUSES.includes(/** @type {Status} */ (value));
}

/**
 * @param {readonly BoardEvent[]} pending
 * @param {ReadonlySet<string>} seen
 */
function unsettled(pending, seen) {
  return pending.filter((event) => event.event_id === undefined || !seen.has(event.event_id));
}

/**
 * Adds an id and forgets the oldest when there are too many: sets keep the order of insertion.
 * @param {Set<string>} ids
 * @param {string} id
 */
function remember(ids, id) {
  ids.add(id);
  if (ids.size > REMEMBERED) ids.delete(/** @type {string} */ (ids.values().next().value));
}
