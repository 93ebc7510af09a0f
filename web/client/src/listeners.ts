import type { Unsubscribe } from './types.js';

/** Functions to be called with each value. */
export interface Listeners<Value> {
  add(listener: (value: Value) => void): Unsubscribe;
  emit(value: Value): void;
}

export function createListeners<Value>(): Listeners<Value> {
  const all = new Set<{ call: (value: Value) => void }>();
  return {
    add(call) {
      const entry = { call }; // the same function may listen twice
      all.add(entry);
      return () => void all.delete(entry);
    },
    emit(value) {
      // One that ends another stops it at once; one that is new begins with the next value.
      for (const entry of [...all]) if (all.has(entry)) guard(() => entry.call(value));
    },
  };
}

/** Runs code of the application: what it throws is its own, and must not end a stream. */
function guard(run: () => void): void {
  try {
    run();
  } catch (error) {
    if (typeof reportError === 'function') reportError(error);
    else
      setTimeout(() => {
        throw error;
      });
  }
}
