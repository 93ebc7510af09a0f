// The board as elements, and what people do with it.
import { byId, el, me } from '/shared/page.js';
import { COLUMNS } from './board.js';

const statuses = Object.keys(COLUMNS);

const columns = Object.fromEntries(
  statuses.map((status) => {
    const list = el('ul', { className: 'list', 'aria-label': COLUMNS[status] });
    const column = el('section', { className: 'column', 'data-status': status }, el('h2', {}, COLUMNS[status]), list);
    byId('board').append(column);
    return [status, { column, list }];
  }),
);

/** What the user can do: `change(id, { status | assignee })` and `remove(id)`. */
let actions;
for (const [status, { column }] of Object.entries(columns)) {
  column.ondragover = (event) => {
    event.preventDefault();
    column.classList.add('over');
  };
  column.ondragleave = () => column.classList.remove('over');
  column.ondrop = (event) => {
    event.preventDefault();
    column.classList.remove('over');
    actions.change(Number(event.dataTransfer.getData('text/plain')), { status });
  };
}

/** Shows a snapshot of the store. The focus stays on its card, also when the card moves. */
export function draw({ state, pending }, does) {
  actions = does;
  const focused = document.activeElement?.closest('.card')?.dataset.id;
  for (const { list } of Object.values(columns)) list.replaceChildren();
  for (const task of state.values()) columns[task.status].list.append(card(task));
  byId('board').dataset.pending = String(pending.length);
  if (focused)
    byId('board')
      .querySelector(`[data-id="${CSS.escape(focused)}"]`)
      ?.focus();
}

function card(task) {
  const proposed = typeof task.id !== 'number'; // the service has not named it yet
  const mine = task.assignee === me;
  const element = el(
    'li',
    {
      className: proposed ? 'card pending' : 'card',
      draggable: !proposed,
      tabIndex: 0,
      'data-id': task.id,
      'data-rev': task.rev,
    },
    el('span', {}, task.title),
    el(
      'div',
      { className: 'row' },
      el('span', { className: 'tag' }, task.assignee || 'nobody'),
      move(task, -1, '←', proposed),
      move(task, 1, '→', proposed),
      button(mine ? 'Give up' : 'Take', proposed, () => actions.change(task.id, { assignee: mine ? '' : me })),
      button('Delete', proposed, () => actions.remove(task.id)),
    ),
  );
  element.ondragstart = (event) => event.dataTransfer.setData('text/plain', task.id);
  element.onkeydown = (event) => {
    const status = beside(task, { ArrowLeft: -1, ArrowRight: 1 }[event.key]);
    if (event.target !== element || proposed || !status) return;
    event.preventDefault();
    actions.change(task.id, { status });
  };
  return element;
}

/** The status of the column beside a task's. */
const beside = (task, by) => statuses[statuses.indexOf(task.status) + by];

/** For fingers, which cannot drag. */
function move(task, by, text, proposed) {
  const status = beside(task, by);
  const element = button(text, proposed || !status, () => actions.change(task.id, { status }));
  element.setAttribute('aria-label', status ? `Move to ${COLUMNS[status]}` : 'Move');
  return element;
}

const button = (text, disabled, onclick) =>
  el('button', { className: 'small', type: 'button', disabled, onclick }, text);
