import { defineConfig } from 'vitest/config';

export default defineConfig({
  // graphql ships CommonJS and ESM; two copies in one process are two realms ("Cannot use GraphQLSchema from another realm").
  resolve: { alias: [{ find: /^graphql$/, replacement: 'graphql/index.js' }] },
  test: {
    include: ['test/**/*.test.ts'],
    // Vitest leaves one core free; much of what these tests do is to wait for processes and sockets.
    maxWorkers: 2,
    // No test changes what others of its process use, and loading everything anew for each file takes a third of the time.
    isolate: false,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
