import type { TurnSignals } from '../../conversations/ports.ts';

/** The signals of a single process: there is nobody to tell. */
export const createMemoryTurnSignals = (): TurnSignals => ({ cancel: () => {}, onCancel: () => {} });
