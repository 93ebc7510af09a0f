// @vitest-environment happy-dom
import { QueryClient } from '@tanstack/query-core';
import { afterEach, expect, test, vi } from 'vitest';
import { invalidationRules } from '../src/query.js';
import { fakeConnection } from './fake-connection.js';

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

/** A tab whose frames the test makes. */
function tab() {
  vi.useFakeTimers();
  const frames = new Map<number, () => void>();
  vi.stubGlobal('requestAnimationFrame', (call: () => void) => frames.set(frames.size + 1, call).size);
  vi.stubGlobal('cancelAnimationFrame', (id: number) => frames.delete(id));
  const client = new QueryClient();
  const invalidate = vi.spyOn(client, 'invalidateQueries');
  const fake = fakeConnection();
  invalidationRules(client, [{ type: 'post', keys: [['posts']] }]).attach(fake.connection, 'posts');
  return { fake, frames, invalidate };
}

test('what comes within a frame is one batch', () => {
  const { fake, frames, invalidate } = tab();
  fake.event('posts', { type: 'post' });
  fake.event('posts', { type: 'post' });
  expect(frames.size).toBe(1);
  expect(invalidate).not.toHaveBeenCalled();
  for (const call of [...frames.values()]) call();
  expect(invalidate).toHaveBeenCalledTimes(1);
  vi.runAllTimers();
  expect(invalidate).toHaveBeenCalledTimes(1);
});

test('a hidden tab, which has no frames, does not wait for one', () => {
  const { fake, frames, invalidate } = tab();
  fake.event('posts', { type: 'post' });
  vi.runAllTimers();
  expect(invalidate).toHaveBeenCalledTimes(1);
  expect(frames.size).toBe(0);
});
