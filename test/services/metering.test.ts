import { describe, expect, it } from 'vitest';
import {
  NOTHING_USED,
  readMeter,
  tokenUsage,
  withUnreported,
  type TurnMetering,
} from '../../src/conversations/metering.ts';
import type { AnswerPart } from '../../src/conversations/ports.ts';

const QUESTION_CHARACTERS = 40; // 10 tokens, where they have to be estimated

const attempt: AnswerPart = { type: 'attempt', aliasId: 'ALIAS' };
const trace: AnswerPart = { type: 'trace', traceId: null };
const text = (characters: number): AnswerPart => ({ type: 'text', text: 'x'.repeat(characters) });
const step = (inputCharacters: number, modelId: string | null = 'nova'): AnswerPart => ({
  type: 'step',
  inputCharacters,
  modelId,
});
const usage = (inputTokens: number, outputTokens: number, modelId: string | null = 'nova'): AnswerPart => ({
  type: 'usage',
  inputTokens,
  outputTokens,
  modelId,
});
const call = (
  service: 'MEMORY' | 'KNOWLEDGE_BASE' | 'ACTION_GROUP',
  latencyMs: number | null,
  failed = false,
  name: string | null = null,
  results = 0,
): AnswerPart => ({ type: 'activity', service, name, latencyMs, results, failed });

/** Every part arrives 10 ms after the one before it. */
function meter(...parts: readonly AnswerPart[]): TurnMetering {
  const reading = readMeter(QUESTION_CHARACTERS);
  parts.forEach((part, index) => reading.take(part, (index + 1) * 10));
  return reading.total(parts.length * 10);
}

const tokens = ({ inputTokens, outputTokens, estimatedTokens }: TurnMetering) => [
  inputTokens,
  outputTokens,
  estimatedTokens,
];

describe('what the steps report is summed, whatever the order', () => {
  it.each<[string, AnswerPart[], [number, number, number]]>([
    ['nothing at all', [], [0, 0, 0]],
    ['an attempt that never answered', [attempt], [0, 0, 0]],
    ['one step, its text inside', [attempt, step(400), text(80), usage(120, 30)], [120, 30, 0]],
    ['one step, its text after the report', [attempt, step(400), usage(120, 30), text(80), text(80)], [120, 30, 0]],
    ['a report without a beginning', [attempt, usage(120, 30), text(80)], [120, 30, 0]],
    ['a report after text without a beginning', [attempt, text(80), usage(120, 30)], [120, 30, 0]],
    [
      'several steps, the last streamed',
      [attempt, step(400), usage(100, 10), step(800), text(8), usage(200, 20), text(8)],
      [300, 30, 0],
    ],
    ['a report of nothing', [attempt, step(400), usage(0, 0), text(80)], [0, 0, 0]],
    ['no traces: the whole attempt', [attempt, text(80), text(20)], [10, 25, 125 - 90]],
    ['no traces and no text', [attempt, trace, trace], [0, 0, 0]],
    ['a step that was cut', [attempt, step(400), text(80)], [100, 20, 120]],
    ['a step that was cut before any text', [attempt, step(400)], [100, 0, 100]],
    ['a second step that was cut', [attempt, step(400), usage(90, 9), step(800), text(40)], [290, 19, 210]],
    [
      'a step that never reported, and one that did',
      [attempt, step(400), text(4), step(800), usage(200, 20)],
      [300, 21, 101],
    ],
    ['text after the last report', [attempt, step(4), usage(1, 2), step(4), usage(3, 4), text(4_000)], [4, 6, 0]],
    [
      'a retry after a cut',
      [attempt, step(400), text(80), attempt, step(400), text(80), usage(120, 30)],
      [220, 50, 120],
    ],
    ['a retry after a report', [attempt, step(4), usage(120, 30), attempt, step(4), usage(120, 30)], [240, 60, 0]],
    ['a retry without traces', [attempt, text(40), attempt, text(80)], [20, 30, 50]],
    [
      'a retry that is traced after one that was not',
      [attempt, text(40), attempt, step(4), usage(5, 6), text(9)],
      [15, 16, 20],
    ],
    ['three attempts that failed before they began', [attempt, attempt, attempt], [0, 0, 0]],
  ])('%s', (_name, parts, expected) => {
    expect(tokens(meter(...parts))).toEqual(expected);
  });

  it('usage is a running sum: asking for it changes nothing', () => {
    const reading = readMeter(QUESTION_CHARACTERS);
    for (const part of [attempt, step(400), text(80)]) {
      reading.take(part, 1);
      reading.total(1);
      reading.total(2);
    }
    expect(tokens(reading.total(3))).toEqual([100, 20, 120]);
    reading.take(usage(7, 8), 4);
    expect(tokens(reading.total(5))).toEqual([7, 8, 0]);
  });
});

describe('the rest of a turn', () => {
  it('attempts, traces and services are counted', () => {
    const metering = meter(
      attempt,
      trace,
      call('KNOWLEDGE_BASE', 12),
      attempt,
      trace,
      trace,
      call('KNOWLEDGE_BASE', 30, true),
      call('ACTION_GROUP', 5),
      call('MEMORY', 1),
    );
    expect(metering).toMatchObject({
      attempts: 2,
      traces: 3,
      latencyMs: 90,
      knowledgeBase: { latenciesMs: [12, 30], failures: 1 },
      actionGroup: { latenciesMs: [5], failures: 0 },
      memory: { latenciesMs: [1], failures: 0 },
    });
  });

  it('the first text is when the first character came: no empty text, no later one, no second attempt', () => {
    expect(meter(attempt, step(4), text(0), text(0), text(4), attempt, text(4)).firstTextMs).toBe(50);
    expect(meter(attempt, step(4), usage(1, 1)).firstTextMs).toBeNull();
  });

  it('empty texts cost nothing', () => {
    expect(tokens(meter(attempt, text(0), text(0)))).toEqual([0, 0, 0]);
  });

  it('the model is the last one named', () => {
    expect(meter(attempt, step(4, 'nova'), usage(1, 1, null)).modelId).toBe('nova');
    expect(meter(attempt, step(4, null), usage(1, 1, 'claude')).modelId).toBe('claude');
    expect(meter(attempt, step(4, null), usage(1, 1, null)).modelId).toBeNull();
  });

  it('readings do not share anything: NOTHING_USED stays what it says', () => {
    meter(attempt, call('MEMORY', 1), trace, step(4), usage(1, 1));
    expect(NOTHING_USED).toMatchObject({ attempts: 0, traces: 0, inputTokens: 0, memory: { latenciesMs: [] } });
    expect(meter()).toEqual(NOTHING_USED);
  });

  it('a message shows the sum, and whether part of it was estimated', () => {
    expect(tokenUsage(meter(attempt, step(400), text(80)))).toEqual({
      inputTokens: 100,
      outputTokens: 20,
      totalTokens: 120,
      estimatedTokens: 120,
      latencyMs: 30,
      modelId: 'nova',
      estimated: true,
    });
    expect(tokenUsage(meter(attempt, step(400), usage(1, 2))).estimated).toBe(false);
  });
});

describe('a turn whose process died', () => {
  it('that asked and stored no usage is charged its question, and the text nobody metered, as estimates', () => {
    const stored = meter(attempt);
    expect(withUnreported(stored, { questionCharacters: 41, moreCharacters: 8 })).toMatchObject({
      ...{ attempts: 1, inputTokens: 11, outputTokens: 2, estimatedTokens: 13 },
    });
  });

  it('that stored its usage is charged beyond it only for text that came after', () => {
    const stored = meter(attempt, step(400), usage(100, 20));
    expect(withUnreported(stored, { questionCharacters: 41, moreCharacters: 0 })).toEqual(stored);
    expect(withUnreported(stored, { questionCharacters: 41, moreCharacters: 40 })).toMatchObject({
      ...{ inputTokens: 100, outputTokens: 30, estimatedTokens: 10 },
    });
  });

  it('that never asked is charged nothing', () => {
    const more = { questionCharacters: 41, moreCharacters: 0 };
    expect(withUnreported(NOTHING_USED, more)).toEqual(NOTHING_USED);
  });
});
