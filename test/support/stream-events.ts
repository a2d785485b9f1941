import type { StreamEvent } from '../../src/conversations/model.ts';
import { parseTenantId } from '../../src/tenancy/tenant-id.ts';
import { aConversation, anOutcome, aTurn, messagesOf } from './conversation-rows.ts';

const [, ANSWER] = (() => {
  const conversation = aConversation(parseTenantId('acme')!);
  return messagesOf(conversation, aTurn(conversation));
})();

export const delta = (sequence: number, text = `${sequence} `): StreamEvent => ({ sequence, type: 'DELTA', text });

/** Deltas with these numbers, both included. */
export const deltas = (from: number, to: number): StreamEvent[] =>
  Array.from({ length: to - from + 1 }, (_, n) => delta(from + n));

export const citation = (sequence: number): StreamEvent => ({
  sequence,
  type: 'CITATION',
  citation: { text: 'passage', source: null, title: null },
});

export const terminal = (sequence: number, type: 'COMPLETED' | 'FAILED' | 'CANCELLED' = 'COMPLETED'): StreamEvent => ({
  sequence,
  type,
  message: { ...ANSWER, ...anOutcome('all', { status: type, lastEvent: sequence }) },
});

export const numbersOf = (events: readonly StreamEvent[]): number[] => events.map(({ sequence }) => sequence);
