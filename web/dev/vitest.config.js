import { defineConfig } from 'vitest/config';

// The page in a real browser, served by real gateways.
export default defineConfig({
  test: { include: ['test/*.test.js'], testTimeout: 90_000, hookTimeout: 240_000 },
});
