import assert from 'node:assert/strict';
import { test } from 'node:test';

import { columnsOf, emptyBoard, findTask, hasSeen, orderAt, propose, rebuild, receive, withdraw } from './board.js';

/** @typedef {import('./board.js').BoardEvent} BoardEvent */

let ids = 0;

/**
 * @param {string} type
 * @param {unknown} data
 * @returns {BoardEvent}
 */
function event(type, data) {
  return { type, event_id: `e${++ids}`, data };
}

/** @param {BoardEvent[]} events */
function boardOf(...events) {
  return receive(emptyBoard(), events);
}

/**
 * @param {import('./board.js').Board} board
 * @returns {string} such as "a b | c | " with a star at what is pending
 */
function shown(board) {
  const { todo, doing, done } = columnsOf(board);
  return [todo, doing, done].map((list) => list.map((t) => t.id + (t.pending ? '*' : '')).join(' ')).join(' | ');
}

const a = () => event('task_created', { id: 'a', title: 'A', status: 'todo', order: 1 });
const b = () => event('task_created', { id: 'b', title: 'B', status: 'todo', order: 2 });

test('events build the board', () => {
  let board = boardOf(a(), b());
  assert.equal(shown(board), 'a b |  | ');
  board = receive(board, [event('task_status_changed', { id: 'a', status: 'doing' })]);
  assert.equal(shown(board), 'b | a | ');
  board = receive(board, [event('task_updated', { id: 'a', title: 'A2' }), event('task_assigned', { id: 'a', assignee: 'kim' })]);
  assert.deepEqual([board.tasks.get('a')?.title, board.tasks.get('a')?.assignee], ['A2', 'kim']);
  board = receive(board, [event('task_deleted', { id: 'b' })]);
  assert.equal(shown(board), ' | a | ');
});

test('an event counts once', () => {
  const create = a();
  const board = boardOf(create, create);
  assert.ok(hasSeen(board, create));
  assert.equal(receive(board, [create]), board);
  assert.equal(propose(board, create), board);
});

test('a proposal is shown at once and settled by its confirmation', () => {
  const create = a();
  let board = propose(boardOf(b()), create);
  assert.equal(shown(board), 'a* b |  | ');
  assert.equal(board.tasks.has('a'), false);
  board = receive(board, [create]);
  assert.equal(shown(board), 'a b |  | ');
});

test('a proposal is rolled back to what others made of it meanwhile', () => {
  const move = event('task_status_changed', { id: 'a', status: 'done' });
  let board = propose(boardOf(a()), move);
  assert.equal(shown(board), ' |  | a*');
  board = receive(board, [event('task_status_changed', { id: 'a', status: 'doing' })]);
  assert.equal(shown(board), ' |  | a*');
  assert.equal(shown(withdraw(board, String(move.event_id))), ' | a | ');
});

test('a proposal that was rolled back still counts when it arrives after all', () => {
  const create = a();
  const board = withdraw(propose(emptyBoard(), create), String(create.event_id));
  assert.equal(shown(receive(board, [create])), 'a |  | ');
});

test('starting over keeps the proposals that the history does not contain', () => {
  const [first, second] = [a(), b()];
  const board = propose(propose(boardOf(event('task_created', { id: 'x' })), first), second);
  assert.equal(shown(rebuild(board, [first])), 'a b* |  | ');
});

test('a late update does not bring a deleted task back, a new creation does', () => {
  let board = boardOf(a(), event('task_deleted', { id: 'a' }), event('task_updated', { id: 'a', title: 'late' }));
  assert.equal(shown(board), ' |  | ');
  board = receive(board, [a()]);
  assert.equal(shown(board), 'a |  | ');
});

test('a move does not undo a rename, but names a task whose creation was trimmed', () => {
  const move = () => event('task_status_changed', { id: 'a', status: 'done', title: 'old' });
  assert.equal(boardOf(a(), event('task_updated', { id: 'a', title: 'new' }), move()).tasks.get('a')?.title, 'new');
  assert.equal(boardOf(move()).tasks.get('a')?.title, 'old');
});

test('foreign events do no harm', () => {
  const strange = [
    undefined, null, 'text', 7, [], {}, { id: '' }, { id: {} }, { id: null },
  ].map((data) => event('task_created', data));
  assert.equal(shown(boardOf(...strange, event('unheard_of', { id: 'z' }), { type: 'task_deleted' })), ' |  | ');

  const sparse = boardOf(event('task_created', { id: 5, title: ['x'], status: 'blocked', order: 'first' }));
  assert.deepEqual([...sparse.tasks.values()], [{ id: '5', title: '', status: 'todo', order: 1024, assignee: '' }]);

  const twice = boardOf({ type: 'task_created', data: { id: 'a' } }, { type: 'task_created', data: { id: '__proto__' } });
  assert.equal(shown(twice), 'a __proto__ |  | ');
});

test('an order lies where the task was put', () => {
  const columns = columnsOf(boardOf(a(), b(), event('task_created', { id: 'c', order: 3 })));
  const at = (/** @type {number} */ index) => orderAt(columns, 'a', 'todo', index, () => 0.5);
  assert.ok(at(0) < 2);
  assert.equal(at(1), 2.5);
  assert.ok(at(2) > 3);
  assert.equal(orderAt(columns, 'a', 'done', 0), 0);
  assert.deepEqual(findTask(columns, 'c')?.index, 2);
  assert.equal(findTask(columns, 'nobody'), null);
});
