import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createOptimistic } from '../src/optimistic.js';
import { fakeConnection } from './fake-connection.js';

interface Events {
  put: { key: number; value: number };
}
type State = Readonly<Record<number, number>>;
interface Write {
  event_id: string;
  key: number;
  value: number;
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** What the server made of these writes. */
const stateOf = (log: readonly Write[]): State => Object.fromEntries(log.map(({ key, value }) => [key, value]));
const put = (state: State, key: number, value: number): State => ({ ...state, [key]: value });

const step = fc.oneof(
  fc.record({ kind: fc.constant('change' as const), key: fc.nat(2) }),
  fc.record({ kind: fc.constant('remote' as const), key: fc.nat(2) }),
  // The server makes the change that has waited longest, or refuses it; its answer comes, or is lost.
  fc.record({ kind: fc.constant('serve' as const), accept: fc.boolean(), answer: fc.boolean() }),
  fc.record({ kind: fc.constant('deliver' as const) }),
  fc.record({ kind: fc.constant('gap' as const), count: fc.integer({ min: 1, max: 3 }) }),
  // The server reads its state for the fetch that is under way, or the answer comes.
  fc.record({ kind: fc.constant('read' as const) }),
  fc.record({ kind: fc.constant('fetched' as const), fail: fc.boolean() }),
  fc.record({ kind: fc.constant('time' as const), ms: fc.constantFrom(1, 5000, 10_000) }),
);

test('whatever happens, what is shown ends as what the server has', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const fake = fakeConnection<Events>();
      const log: Write[] = [];
      let delivered = 0;
      let value = 0;
      const sends: { write: Write; resolve(): void; reject(error: Error): void }[] = [];
      let fetching: { state?: State; resolve(state: State): void; reject(error: Error): void } | undefined;
      const store = createOptimistic<State, Events>({
        initial: {},
        fetch: () => new Promise((resolve, reject) => (fetching = { resolve, reject })),
        reduce: (state, { type, data }) => (type === 'put' ? put(state, data.key, data.value) : state),
      });
      store.attach(fake.connection, 'board');

      const deliver = (): void => {
        const write = log[delivered];
        if (!write) return;
        delivered++;
        const { event_id, ...data } = write;
        fake.event('board', { type: 'put', event_id, data });
        expect(store.getSnapshot().pending.map(({ id }) => id)).not.toContain(event_id);
      };
      const serve = (accept: boolean, answer: boolean): void => {
        const send = sends.shift();
        if (!send) return;
        if (accept) log.push(send.write);
        if (!accept) send.reject(new Error('refused'));
        else if (answer) send.resolve();
      };
      const fetched = (fail = false): void => {
        const { state = stateOf(log), resolve, reject } = fetching ?? {};
        fetching = undefined;
        if (fail) reject?.(new Error('away'));
        else resolve?.(state);
      };

      await vi.advanceTimersByTimeAsync(0);
      fetched();
      for (const step of steps) {
        if (step.kind === 'change') {
          const { key } = step;
          const mine = ++value;
          const run = store.run({
            apply: (state) => put(state, key, mine),
            send: (event_id) =>
              new Promise<void>((resolve, reject) => {
                sends.push({ write: { event_id, key, value: mine }, resolve, reject });
              }),
          });
          run.catch(() => {});
          expect(store.getSnapshot().state[key]).toBe(mine);
        } else if (step.kind === 'remote') log.push({ event_id: `remote${++value}`, key: step.key, value });
        else if (step.kind === 'serve') serve(step.accept, step.answer);
        else if (step.kind === 'deliver') deliver();
        else if (step.kind === 'gap') {
          delivered = Math.min(log.length, delivered + step.count);
          fake.gap('board');
        } else if (step.kind === 'read') {
          if (fetching) fetching.state ??= stateOf(log);
        } else if (step.kind === 'fetched') fetched(step.fail);
        else await vi.advanceTimersByTimeAsync(step.ms);
        await vi.advanceTimersByTimeAsync(0);
      }

      while (sends.length > 0) serve(true, true);
      while (delivered < log.length) deliver();
      for (let n = 0; n < 10; n++) {
        fetched();
        await vi.advanceTimersByTimeAsync(20_000);
      }
      expect(store.getSnapshot()).toMatchObject({ pending: [], stale: false, error: undefined });
      expect(store.getSnapshot().state).toEqual(stateOf(log));
    }),
    { numRuns: 300 },
  );
});
