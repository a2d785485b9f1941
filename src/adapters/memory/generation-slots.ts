import type { GenerationSlots } from '../../conversations/ports.ts';

/** One process alone: its own count is the whole. */
export const createMemoryGenerationSlots = (): GenerationSlots => ({
  take: () => Promise.resolve(true),
  release: () => Promise.resolve(),
  onFreed: () => undefined,
});
