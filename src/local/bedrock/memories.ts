import { invalid } from './service-error.ts';

/** What DeleteAgentMemory names: one memory of an alias, or without a memory id all of them. */
export interface MemoryTarget {
  readonly agentId: string;
  readonly aliasId: string;
  readonly memoryId: string | null;
}

/** That agents remember somebody. What they remember plays no part in an answer of the emulator. */
export interface Memories {
  keep(target: MemoryTarget & { readonly memoryId: string }): void;
  forget(target: MemoryTarget): void;
  /** Each as `agent/alias/memory`. */
  all(): readonly string[];
}

const PATH = /^\/agents\/([0-9a-zA-Z]{1,10})\/agentAliases\/([0-9a-zA-Z]{1,10})\/memories$/;
const MEMORY_ID = /^[0-9a-zA-Z._:-]{2,100}$/;

/**
 * Reads the target from a request URL, or null when it is not DeleteAgentMemory's path.
 *
 * @throws ValidationException when the memory's id breaks the service's rules.
 */
export const parseMemoryTarget = (url: string): MemoryTarget | null => {
  const { pathname, searchParams } = new URL(url, 'http://emulator');
  const match = PATH.exec(pathname);
  if (!match) return null;
  const [, agentId = '', aliasId = ''] = match;
  const memoryId = searchParams.get('memoryId');
  if (memoryId !== null && !MEMORY_ID.test(memoryId)) throw invalid(`memoryId must match ${MEMORY_ID.source}`);
  return { agentId, aliasId, memoryId };
};

export const createMemories = (): Memories => {
  const kept = new Set<string>();
  return {
    keep: ({ agentId, aliasId, memoryId }) => void kept.add(`${agentId}/${aliasId}/${memoryId}`),
    forget({ agentId, aliasId, memoryId }) {
      const alias = `${agentId}/${aliasId}/`;
      for (const name of kept)
        if (memoryId === null ? name.startsWith(alias) : name === alias + memoryId) kept.delete(name);
    },
    all: () => [...kept],
  };
};
