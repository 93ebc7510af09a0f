import type { CursorStore } from './types.js';

/** How long in ms a cursor waits to be written. */
const DELAY = 1000;

type KeyStorage = Pick<Storage, 'getItem' | 'setItem'>;

/** Whose cursor, and of what, a {@link cursorStore} keeps. */
export interface CursorKey {
  url: string | URL;
  channels?: readonly string[];
  /** The user: another one must not continue where this one stopped. */
  user?: string;
}

/**
 * Keeps the cursor of one connection in a `Storage`, so that the page continues where it was
 * when it is loaded again. That is right for pages which also keep what they made of the events; others
 * read their state anew, and start at its cursor or at the present. `sessionStorage` parts tabs, `localStorage` does
 * not. A storage that is full or forbidden does nothing.
 *
 * @param storage the storage, or better a function: where the browser forbids it, `sessionStorage` alone throws
 */
export function cursorStore(storage: KeyStorage | (() => KeyStorage), key: CursorKey): CursorStore {
  const name = JSON.stringify(['realtime-gateway', String(key.url), key.user ?? '', [...(key.channels ?? [])].sort()]);
  let cursor = '';
  let timer: ReturnType<typeof setTimeout> | undefined;
  const open = (): KeyStorage => (typeof storage === 'function' ? storage() : storage);
  const write = (): void => {
    if (timer === undefined) return;
    clearTimeout(timer);
    timer = undefined;
    globalThis.removeEventListener?.('pagehide', write);
    attempt(() => open().setItem(name, cursor));
  };
  return {
    get: () => attempt(() => open().getItem(name)),
    set(newest) {
      cursor = newest;
      if (timer !== undefined) return;
      timer = setTimeout(write, DELAY);
      // Only while there is something to write: a store has no end at which to take it back.
      globalThis.addEventListener?.('pagehide', write);
    },
  };
}

function attempt<Value>(use: () => Value): Value | undefined {
  try {
    return use();
  } catch {
    return undefined;
  }
}
