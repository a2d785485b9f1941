import { call } from './call.ts';

/**
 * Resolves when the engine at `host`:`port` answers ListTables, which reads its files; rejects when it does not.
 * A listening port proves nothing: dynalite listens before it has opened its store.
 */
export const probe = async (host: string, port: number): Promise<void> => {
  await call({ host, port, operation: 'ListTables', input: {} });
};
