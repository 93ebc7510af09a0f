// Reaching parts of the page that are known to be there.

/**
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  return there(document.getElementById(id), `#${id}`);
}

/**
 * @param {Element} parent
 * @param {string} selector
 * @returns {HTMLElement}
 */
export function part(parent, selector) {
  return there(/** @type {HTMLElement | null} */ (parent.querySelector(selector)), selector);
}

/**
 * A copy of what a template holds.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function stamp(id) {
  const template = /** @type {HTMLTemplateElement} */ (byId(id));
  return /** @type {HTMLElement} */ (there(template.content.firstElementChild, id).cloneNode(true));
}

/**
 * @template T
 * @param {T | null} value
 * @param {string} what
 * @returns {T}
 */
function there(value, what) {
  if (value === null) throw new Error(`the page has no ${what}`);
  return value;
}
