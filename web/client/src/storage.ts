import type { CursorStore } from './types.js';

/** How long in ms a cursor waits to be written. */
const DELAY = 1000;

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
 */
export function cursorStore(storage: Pick<Storage, 'getItem' | 'setItem'>, key: CursorKey): CursorStore {
  const name = JSON.stringify(['realtime-gateway', String(key.url), key.user ?? '', [...(key.channels ?? [])].sort()]);
  let cursor = '';
  let timer: ReturnType<typeof setTimeout> | undefined;
  const write = (): void => {
    if (timer === undefined) return;
    clearTimeout(timer);
    timer = undefined;
    attempt(() => storage.setItem(name, cursor));
  };
  globalThis.addEventListener?.('pagehide', write);
  return {
    get: () => attempt(() => storage.getItem(name)),
    set(newest) {
      cursor = newest;
      timer ??= setTimeout(write, DELAY);
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
