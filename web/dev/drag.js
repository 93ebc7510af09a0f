// Dragging cards by pointer: with a mouse anywhere on the card, with a finger by
// its grip, because the rest of the card scrolls the page.

import { part } from './dom.js';

/**
 * @typedef {import('./board.js').Status} Status
 *
 * @typedef {object} Drag
 * @property {string} id
 * @property {HTMLElement} card
 * @property {HTMLElement} gap holds the place where the card would land
 * @property {number} dx
 * @property {number} dy from the card's corner to the pointer
 * @property {number} x
 * @property {number} y of the pointer
 */

const THRESHOLD = 5; // pixels until a press becomes a drag
const EDGE = 70; // pixels from the window's edge where it scrolls
const SPEED = 12; // pixels a frame

/**
 * @param {HTMLElement} root
 * @param {{drop: (id: string, status: Status, index: number) => void, end: () => void}} handlers
 *   `end` is called after every drag, also a cancelled one
 */
export function enableDragging(root, handlers) {
  /** @type {Drag | null} */
  let drag = null;
  /** @type {{id: string, rect: DOMRect} | null} */
  let dropped = null;

  root.addEventListener('pointerdown', (down) => {
    const target = /** @type {Element} */ (down.target);
    const card = /** @type {HTMLElement | null} */ (target.closest('.card'));
    if (!card || drag || down.button !== 0 || target.closest('button, input')) return;
    if (down.pointerType !== 'mouse' && !target.closest('.grip')) return;

    const move = (/** @type {PointerEvent} */ event) => {
      if (event.pointerId !== down.pointerId) return;
      if (!drag) {
        if (Math.hypot(event.clientX - down.clientX, event.clientY - down.clientY) < THRESHOLD) return;
        drag = begin(card, down);
        requestAnimationFrame(scroll);
      }
      drag.x = event.clientX;
      drag.y = event.clientY;
      follow(root, drag);
    };
    const stop = (/** @type {Event} */ event) => {
      if (event instanceof PointerEvent && event.pointerId !== down.pointerId) return;
      if (event instanceof KeyboardEvent && event.key !== 'Escape') return;
      if (event.type === 'blur' && event.target !== window) return; // the focus moves within the page
      for (const [name, listener] of listeners) window.removeEventListener(name, listener, true);
      if (drag) finish(event.type === 'pointerup');
    };
    /** @type {[string, any][]} */
    const listeners = [['pointermove', move], ['pointerup', stop], ['pointercancel', stop], ['keydown', stop], ['blur', stop]];
    for (const [name, listener] of listeners) window.addEventListener(name, listener, true);
  });

  function scroll() {
    if (!drag) return;
    const dy = drag.y < EDGE ? -SPEED : drag.y > innerHeight - EDGE ? SPEED : 0;
    if (dy) {
      window.scrollBy(0, dy);
      follow(root, drag);
    }
    requestAnimationFrame(scroll);
  }

  /** @param {boolean} drop */
  function finish(drop) {
    const { id, card, gap } = /** @type {Drag} */ (drag);
    const column = gap.closest('.column');
    let index = 0;
    for (let sibling = gap.previousElementSibling; sibling; sibling = sibling.previousElementSibling) {
      if (sibling !== card) index++;
    }
    dropped = { id, rect: card.getBoundingClientRect() };
    card.classList.remove('dragging');
    card.removeAttribute('style');
    gap.remove();
    root.classList.remove('has-drag');
    drag = null;
    if (drop && column) handlers.drop(id, /** @type {Status} */ (column.getAttribute('data-status')), index);
    handlers.end();
  }

  return {
    active: () => drag !== null,
    /** Where the card was let go, once. */
    takeDropped() {
      const last = dropped;
      dropped = null;
      return last;
    },
  };
}

/**
 * @param {HTMLElement} card
 * @param {PointerEvent} down
 * @returns {Drag}
 */
function begin(card, down) {
  const rect = card.getBoundingClientRect();
  const gap = document.createElement('li');
  gap.className = 'gap';
  gap.style.height = `${rect.height}px`;
  card.before(gap);
  card.classList.add('dragging');
  card.style.width = `${rect.width}px`;
  card.closest('.board')?.classList.add('has-drag');
  return {
    id: card.dataset.id ?? '',
    card,
    gap,
    dx: down.clientX - rect.left,
    dy: down.clientY - rect.top,
    x: down.clientX,
    y: down.clientY,
  };
}

/**
 * Puts the card under the pointer and the gap where it would land.
 * @param {HTMLElement} root
 * @param {Drag} drag
 */
function follow(root, drag) {
  drag.card.style.translate = `${drag.x - drag.dx}px ${drag.y - drag.dy}px`;
  const column = document.elementFromPoint(drag.x, drag.y)?.closest('.column');
  if (!column || !root.contains(column)) return;
  const list = part(column, '.cards');
  const below = [...list.children].find((other) => {
    if (other === drag.card || other === drag.gap) return false;
    const rect = other.getBoundingClientRect();
    return drag.y < rect.top + rect.height / 2;
  });
  if (below) list.insertBefore(drag.gap, below);
  else list.append(drag.gap);
}
