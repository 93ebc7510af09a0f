// The columns and cards: draws what it is given and tells what the user wants.
// Text from events reaches the page by textContent and setAttribute alone.

import { STATUSES } from './board.js';
import { part, stamp } from './dom.js';
import { enableDragging } from './drag.js';

/**
 * @typedef {import('./board.js').Status} Status
 * @typedef {import('./board.js').ShownTask} ShownTask
 * @typedef {import('./board.js').Columns} Columns
 *
 * @typedef {object} Actions
 * @property {(id: string, status: Status, index: number) => void} move index in the column without the task itself
 * @property {(id: string, title: string) => void} rename
 * @property {(id: string) => void} remove
 *
 * @typedef {{element: HTMLElement, title: HTMLElement, assignee: HTMLElement}} Card
 */

/** @type {Record<Status, string>} */
export const LABELS = { todo: 'To do', doing: 'Doing', done: 'Done' };

const MOVE_MS = 180;
const calm = matchMedia('(prefers-reduced-motion: reduce)');

export class BoardView {
  #root;
  #actions;
  /** @type {Map<string, Card>} */
  #cards = new Map();
  /** @type {Columns} */
  #columns = { todo: [], doing: [], done: [] };
  #drag;
  #rearranging = false;

  /**
   * @param {HTMLElement} root
   * @param {Actions} actions
   */
  constructor(root, actions) {
    this.#root = root;
    this.#actions = actions;
    this.#drag = enableDragging(root, {
      drop: (id, status, index) => actions.move(id, status, index),
      end: () => this.render(this.#columns),
    });
    root.addEventListener('click', (event) => this.#click(event));
    root.addEventListener('keydown', (event) => this.#key(event));
    root.addEventListener('dblclick', (event) => {
      const card = cardOf(event.target);
      if (card && /** @type {HTMLElement} */ (event.target).closest('.body')) this.#edit(card);
    });
  }

  /**
   * @param {Columns} columns
   * @param {ReadonlySet<string>} [touched] tasks that somebody else just changed
   */
  render(columns, touched = new Set()) {
    this.#columns = columns;
    if (this.#drag.active()) return; // drawn when the card is let go
    const before = this.#positions();
    const focused = document.activeElement;
    const held = /** @type {HTMLElement | null} */ (focused?.closest?.('.card') ?? null);
    const successor = held && neighbour(held, 1) ? neighbour(held, 1) : held && neighbour(held, -1);

    this.#rearranging = true;
    const ids = new Set(STATUSES.flatMap((status) => columns[status].map((task) => task.id)));
    for (const [id, card] of this.#cards) {
      if (ids.has(id)) continue;
      card.element.remove();
      this.#cards.delete(id);
    }
    for (const status of STATUSES) {
      const column = part(this.#root, `[data-status="${status}"]`);
      const list = part(column, '.cards');
      columns[status].forEach((task, index) => {
        const { element } = this.#card(task);
        this.#label(element, task, columns, status, index);
        if (list.children[index] !== element) list.insertBefore(element, list.children[index] ?? null);
      });
      part(column, '.count').textContent = String(columns[status].length);
      column.classList.toggle('is-empty', columns[status].length === 0);
    }

    // Moving an element in the document takes the focus from it, deleting it leaves nobody with it,
    // and a button that has just become useless cannot keep it.
    if (held?.isConnected) {
      if (document.activeElement !== focused) /** @type {HTMLElement} */ (focused).focus({ preventScroll: true });
      if (document.activeElement !== focused || focused?.matches(':disabled')) held.focus({ preventScroll: true });
    } else {
      successor?.focus();
    }
    this.#rearranging = false;
    this.#animate(before, touched);
  }

  /** @param {string} id */
  focus(id) {
    this.#cards.get(id)?.element.focus();
  }

  /** @param {ShownTask} task */
  #card(task) {
    let card = this.#cards.get(task.id);
    if (!card) {
      const element = stamp('card');
      element.dataset.id = task.id;
      card = { element, title: part(element, '.title'), assignee: part(element, '.assignee') };
      this.#cards.set(task.id, card);
    }
    setText(card.title, titleOf(task));
    card.title.title = titleOf(task); // a long one is cut
    setText(card.assignee, task.assignee);
    card.assignee.dataset.initial = [...task.assignee][0]?.toUpperCase() ?? '';
    card.assignee.style.setProperty('--hue', String(hueOf(task.assignee)));
    card.title.classList.toggle('untitled', task.title.trim() === '');
    card.element.classList.toggle('pending', task.pending);
    return card;
  }

  /**
   * @param {HTMLElement} element
   * @param {ShownTask} task
   * @param {Columns} columns
   * @param {Status} status
   * @param {number} index
   */
  #label(element, task, columns, status, index) {
    const title = titleOf(task);
    const at = STATUSES.indexOf(status);
    const left = STATUSES[at - 1];
    const right = STATUSES[at + 1];
    const place = `${LABELS[status]}, ${index + 1} of ${columns[status].length}`;
    element.setAttribute('aria-label', `${title}, ${place}${task.pending ? ', not yet confirmed' : ''}`);
    label(element, 'left', left && `Move “${title}” to ${LABELS[left]}`);
    label(element, 'right', right && `Move “${title}” to ${LABELS[right]}`);
    label(element, 'rename', `Rename “${title}”`);
    label(element, 'delete', `Delete “${title}”`);
  }

  /** @param {MouseEvent} event */
  #click(event) {
    const button = /** @type {HTMLElement} */ (event.target).closest('button[data-do]');
    const card = cardOf(button);
    if (button instanceof HTMLElement && card) this.#do(button.dataset.do ?? '', card);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const card = /** @type {HTMLElement} */ (event.target);
    if (!card.classList.contains('card') || event.altKey || event.ctrlKey || event.metaKey) return;
    const name = KEYS[(event.shiftKey ? 'Shift+' : '') + event.key];
    if (!name) return;
    event.preventDefault();
    this.#do(name, card);
  }

  /**
   * @param {string} name
   * @param {HTMLElement} card
   */
  #do(name, card) {
    const id = card.dataset.id ?? '';
    const status = /** @type {Status} */ (card.closest('.column')?.getAttribute('data-status'));
    const at = STATUSES.indexOf(status);
    const index = this.#columns[status].findIndex((task) => task.id === id);
    const last = this.#columns[status].length - 1;
    switch (name) {
      case 'left':
      case 'right': {
        const target = STATUSES[name === 'left' ? at - 1 : at + 1];
        if (target) this.#actions.move(id, target, 0);
        break;
      }
      case 'earlier':
        if (index > 0) this.#actions.move(id, status, index - 1);
        break;
      case 'later':
        if (index < last) this.#actions.move(id, status, index + 1);
        break;
      case 'previous':
        neighbour(card, -1)?.focus();
        break;
      case 'next':
        neighbour(card, 1)?.focus();
        break;
      case 'rename':
        this.#edit(card);
        break;
      case 'delete':
        this.#actions.remove(id);
        break;
    }
  }

  /** @param {HTMLElement} card */
  #edit(card) {
    if (card.querySelector('input')) return;
    const id = card.dataset.id ?? '';
    const title = part(card, '.title');
    const old = title.classList.contains('untitled') ? '' : title.textContent ?? '';
    const input = document.createElement('input');
    input.className = 'rename';
    input.value = old;
    input.maxLength = 200;
    input.setAttribute('aria-label', 'Title');
    title.hidden = true;
    title.after(input);
    input.select();
    input.focus();

    let over = false;
    const finish = (/** @type {boolean} */ keep) => {
      if (over) return;
      over = true;
      const focused = document.activeElement === input;
      const value = input.value.trim();
      title.hidden = false;
      input.remove();
      if (focused) card.focus();
      if (keep && value !== '' && value !== old) this.#actions.rename(id, value);
    };
    input.addEventListener('blur', () => {
      if (!this.#rearranging) finish(true); // others' changes move the card, and the input with it
    });
    input.addEventListener('keydown', (event) => {
      event.stopPropagation();
      if (event.key === 'Enter' && !event.isComposing) finish(true);
      if (event.key === 'Escape') finish(false);
    });
  }

  /** Where every card is, for the animation from there. */
  #positions() {
    /** @type {Map<string, DOMRect>} */
    const positions = new Map();
    if (calm.matches || document.hidden) return positions;
    for (const [id, { element }] of this.#cards) positions.set(id, element.getBoundingClientRect());
    const dropped = this.#drag.takeDropped();
    if (dropped) positions.set(dropped.id, dropped.rect);
    return positions;
  }

  /**
   * @param {Map<string, DOMRect>} before
   * @param {ReadonlySet<string>} touched
   */
  #animate(before, touched) {
    if (calm.matches || document.hidden) return;
    for (const [id, { element }] of this.#cards) {
      const from = before.get(id);
      if (from) {
        const to = element.getBoundingClientRect();
        const [dx, dy] = [from.left - to.left, from.top - to.top];
        if (dx || dy) {
          element.animate([{ transform: `translate(${dx}px, ${dy}px)` }, { transform: 'none' }], {
            duration: MOVE_MS,
            easing: 'cubic-bezier(.2, .7, .2, 1)',
          });
        }
      } else if (before.size > 0) {
        element.animate([{ opacity: 0, transform: 'scale(.96)' }, { opacity: 1, transform: 'none' }], MOVE_MS);
      }
      if (touched.has(id)) {
        element.classList.remove('touched');
        element.getBoundingClientRect(); // begins the animation anew
        element.classList.add('touched');
      }
    }
  }
}

/** @type {Record<string, string>} */
const KEYS = {
  ArrowLeft: 'left',
  ArrowRight: 'right',
  ArrowUp: 'previous',
  ArrowDown: 'next',
  'Shift+ArrowUp': 'earlier',
  'Shift+ArrowDown': 'later',
  Enter: 'rename',
  F2: 'rename',
  Delete: 'delete',
  Backspace: 'delete',
};

/** @param {{title: string}} task */
export function titleOf(task) {
  return task.title.trim() || '(untitled)';
}

/**
 * A colour for a name, the same in every window.
 * @param {string} name
 * @returns {number} degrees
 */
function hueOf(name) {
  let hue = 0;
  for (const letter of name) hue = (hue * 31 + letter.charCodeAt(0)) % 360;
  return hue;
}

/**
 * @param {EventTarget | null} target
 * @returns {HTMLElement | null}
 */
function cardOf(target) {
  return target instanceof Element ? target.closest('.card') : null;
}

/**
 * @param {HTMLElement} card
 * @param {1 | -1} step
 * @returns {HTMLElement | null}
 */
function neighbour(card, step) {
  const sibling = step > 0 ? card.nextElementSibling : card.previousElementSibling;
  return sibling instanceof HTMLElement ? sibling : null;
}

/**
 * @param {HTMLElement} card
 * @param {string} name
 * @param {string | undefined} text nothing: the button makes no sense here
 */
function label(card, name, text) {
  const button = /** @type {HTMLButtonElement} */ (part(card, `[data-do="${name}"]`));
  button.disabled = !text;
  button.setAttribute('aria-label', text ?? '');
  button.title = text ?? '';
}

/**
 * @param {HTMLElement} element
 * @param {string} text
 */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
