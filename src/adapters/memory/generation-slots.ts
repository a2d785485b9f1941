import type { GenerationSlots } from '../../conversations/ports.ts';

/** The places of a single process: it counts its generations itself, so here there is always one. */
export const createMemoryGenerationSlots = (): GenerationSlots => ({
  take: () => Promise.resolve(true),
  release: () => Promise.resolve(),
  onFreed: () => {},
});
