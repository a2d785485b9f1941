import type { TurnSignals } from '../../conversations/ports.ts';

/** One process alone has nobody to tell. */
export const createMemoryTurnSignals = (): TurnSignals => ({ cancel: () => undefined, onCancel: () => undefined });
