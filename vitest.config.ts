import { defineConfig } from 'vitest/config';

export default defineConfig({
  // graphql ships CommonJS and ESM; two copies in one process are two realms ("Cannot use GraphQLSchema from another realm").
  resolve: { alias: [{ find: /^graphql$/, replacement: 'graphql/index.js' }] },
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
