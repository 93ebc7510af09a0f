import { vi } from 'vitest';

interface Waiting {
  name: string;
  owner: number;
  grant: (lock: object) => unknown;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
}

interface Held extends Waiting {
  over: boolean;
}

/**
 * What the browser offers the tabs of an origin: Web Locks and BroadcastChannel. They all live in one global object,
 * so `visit` says whose turn it is to begin.
 */
export class FakeBrowser {
  readonly #held = new Map<string, Held>();
  #waiting: Waiting[] = [];
  #buses: FakeBus[] = [];
  #crashed: boolean[] = [];
  /** How long in ms messages take from one tab to another, by the order in which they were opened. */
  delay: (from: number, to: number) => number = () => 0;

  constructor() {
    const buses = this.#buses;
    const delay = (from: FakeBus, to: FakeBus): number => this.delay(buses.indexOf(from), buses.indexOf(to));
    vi.stubGlobal(
      'BroadcastChannel',
      class extends FakeBus {
        constructor(name: string) {
          super(name, buses, delay);
        }
      },
    );
  }

  /** What is made now is a new tab's. Returns its number. */
  visit(): number {
    const owner = this.#crashed.push(false) - 1;
    const request = (name: string, ...rest: unknown[]): Promise<unknown> => this.#request(owner, name, rest);
    vi.stubGlobal('navigator', { locks: { request, query: this.#query }, onLine: true });
    return owner;
  }

  #request(owner: number, name: string, rest: unknown[]): Promise<unknown> {
    const grant = rest.pop() as Waiting['grant'];
    const { signal, steal } = (rest[0] ?? {}) as LockOptions;
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      if (this.#crashed[owner]) return;
      const waiting = { name, owner, grant, resolve, reject };
      signal?.addEventListener('abort', () => {
        if (!this.#waiting.includes(waiting)) return;
        this.#waiting = this.#waiting.filter((other) => other !== waiting);
        reject(signal.reason);
      });
      if (steal) {
        this.#waiting.unshift(waiting);
        this.#end(name, new DOMException('stolen', 'AbortError'));
      } else this.#waiting.push(waiting);
      queueMicrotask(() => this.#next());
    });
  }

  readonly #query = async (): Promise<object> => ({ held: [...this.#held.keys()].map((name) => ({ name })) });

  #next(): void {
    for (const waiting of [...this.#waiting]) {
      if (this.#held.has(waiting.name)) continue;
      this.#waiting = this.#waiting.filter((other) => other !== waiting);
      const held: Held = { ...waiting, over: false };
      this.#held.set(waiting.name, held);
      Promise.resolve(waiting.grant({ name: waiting.name })).then((value) => {
        if (held.over) return;
        held.resolve(value);
        this.#end(waiting.name);
      });
    }
  }

  #end(name: string, error?: unknown): void {
    const held = this.#held.get(name);
    if (held) {
      held.over = true;
      if (error) held.reject(error);
      this.#held.delete(name);
    }
    queueMicrotask(() => this.#next());
  }

  /** Has the tab neither hear nor say anything any more; what it said just now is lost on the way. */
  sleep(owner: number): void {
    const bus = this.#buses[owner];
    if (bus) bus.asleep = true;
  }

  /** Ends the tab without a word; its locks are free. */
  crash(owner: number): void {
    this.sleep(owner);
    this.#crashed[owner] = true;
    this.#waiting = this.#waiting.filter((waiting) => waiting.owner !== owner);
    for (const held of [...this.#held.values()]) if (held.owner === owner) this.#end(held.name);
  }
}

class FakeBus {
  onmessage: ((event: { data: unknown }) => void) | null = null;
  asleep = false;
  readonly #name: string;
  readonly #all: FakeBus[];
  readonly #delay: (from: FakeBus, to: FakeBus) => number;
  #closed = false;

  constructor(name: string, all: FakeBus[], delay: (from: FakeBus, to: FakeBus) => number) {
    this.#name = name;
    this.#all = all;
    this.#delay = delay;
    all.push(this);
  }

  postMessage(message: unknown): void {
    if (this.asleep || this.#closed) return;
    const data = structuredClone(message);
    for (const other of this.#all) {
      if (other === this || other.#name !== this.#name) continue;
      const arrive = (): void => {
        if (!this.asleep && !other.asleep && !other.#closed) other.onmessage?.({ data });
      };
      setTimeout(arrive, this.#delay(this, other));
    }
  }

  close(): void {
    this.#closed = true;
  }
}
