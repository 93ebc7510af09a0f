import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    projects: [
      { test: { name: 'unit', include: ['test/*.test.{ts,tsx}'], environment: 'node' } },
      // Against the real gateway: they build it, and start it with a real redis-server.
      { test: { name: 'gateway', include: ['test/gateway/*.test.ts'], testTimeout: 60_000, hookTimeout: 240_000 } },
      {
        test: {
          name: 'browser',
          include: ['test/browser/*.test.ts'],
          testTimeout: 90_000,
          hookTimeout: 240_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
