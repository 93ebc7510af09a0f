import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { connect } from '../src/index.js';
import { cursorStore } from '../src/storage.js';
import { FakeGateway, pass } from './fake.js';

const url = 'http://gateway.test';
let page: EventTarget;

beforeEach(() => {
  vi.useFakeTimers();
  page = new EventTarget();
  vi.stubGlobal('addEventListener', page.addEventListener.bind(page));
  vi.stubGlobal('removeEventListener', page.removeEventListener.bind(page));
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

function memory(): Pick<Storage, 'getItem' | 'setItem'> {
  const kept = new Map<string, string>();
  return { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => void kept.set(key, value) };
}

test('a page that is loaded again continues where it was', async () => {
  const gateway = new FakeGateway();
  const storage = memory();
  const load = () =>
    connect(url, {
      fetch: gateway.fetch,
      channels: ['a'],
      store: cursorStore(() => storage, { url, channels: ['a'] }),
    });
  const before = load();
  const request = await (await (await gateway.request(1)).open()).event('a', 1);
  await request.event('a', 2);
  page.dispatchEvent(new Event('pagehide'));
  before.close();
  const after = load();
  expect((await gateway.request(2)).cursor).toBe('c2');
  after.close();
});

test('a cursor is written once a second, and is of one user, address and set of channels', async () => {
  const storage = memory();
  const write = vi.spyOn(storage, 'setItem');
  const store = cursorStore(storage, { url, user: 'alice', channels: ['b', 'a'] });
  for (let n = 0; n < 100; n++) store.set(`c${n}`);
  await pass(1000);
  expect(write).toHaveBeenCalledTimes(1);
  const read = (key: Parameters<typeof cursorStore>[1]) => cursorStore(storage, key).get();
  expect(read({ url, user: 'alice', channels: ['a', 'b'] })).toBe('c99');
  expect(read({ url, user: 'bob', channels: ['a', 'b'] })).toBeNull();
  expect(read({ url, user: 'alice', channels: ['a'] })).toBeNull();
  expect(read({ url: 'http://other.test', user: 'alice', channels: ['a', 'b'] })).toBeNull();
});

test('a storage that is forbidden does nothing', async () => {
  const no = (): never => {
    throw new DOMException('no', 'SecurityError');
  };
  const store = cursorStore({ getItem: no, setItem: no }, { url });
  expect(store.get()).toBeUndefined();
  store.set('c1');
  await pass(1000);
});

test('a storage that may not even be looked at does nothing', () => {
  const store = cursorStore(
    () => {
      throw new DOMException('no', 'SecurityError');
    },
    { url },
  );
  expect(store.get()).toBeUndefined();
});

test('a store with nothing to write does not listen to the page', async () => {
  const add = vi.spyOn(page, 'addEventListener');
  vi.stubGlobal('addEventListener', page.addEventListener.bind(page));
  const remove = vi.fn(page.removeEventListener.bind(page));
  vi.stubGlobal('removeEventListener', remove);
  const store = cursorStore(memory(), { url });
  expect(add).not.toHaveBeenCalled();
  store.set('c1');
  store.set('c2');
  await pass(1000);
  expect([add.mock.calls.length, remove.mock.calls.length]).toEqual([1, 1]);
});
