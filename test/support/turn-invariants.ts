import { expect } from 'vitest';
import { isTerminal, type Message } from '../../src/conversations/model.ts';
import type { AnswerPart } from '../../src/conversations/ports.ts';
import { AppError } from '../../src/kernel/errors.ts';
import type { UsageEvent } from '../../src/usage/model.ts';
import { collect } from './collect.ts';
import type { Asked, Reader, Run, Sent } from './turn-run.ts';

/** Why a send may be refused when nothing is wrong. */
const REFUSALS = ['CONVERSATION_BUSY', 'INTERRUPTED', 'IDEMPOTENCY_CONFLICT'];

const saidOf = (parts: readonly AnswerPart[]): string =>
  parts.map((part) => (part.type === 'text' ? part.text : '')).join('');

const estimate = (characters: number) => Math.ceil(characters / 4);

/** What a turn has used after these parts: what was reported, and a quarter of the characters of a step that was not. */
function tokensOf(question: string, parts: readonly AnswerPart[]): number {
  const reports = parts.flatMap((part) => (part.type === 'usage' ? [part.inputTokens + part.outputTokens] : []));
  const last = parts.findLastIndex(({ type }) => type === 'usage' || type === 'step');
  const begun = parts[last];
  const steps = parts.reduce((sum, part, index) => {
    if (part.type !== 'step') return sum;
    const to = parts.findIndex(({ type }, place) => place > index && (type === 'usage' || type === 'step'));
    if (to >= 0 && parts[to]?.type === 'usage') return sum;
    const text = saidOf(parts.slice(index, to < 0 ? undefined : to));
    return sum + estimate(part.inputCharacters) + estimate(text.length);
  }, 0);
  // Without a step the attempt is one, until something is reported. A step counts it as not reported.
  const first = parts.findIndex(({ type }) => type === 'usage' || type === 'step');
  const untraced = saidOf(first < 0 ? parts : parts.slice(0, first));
  const whole = untraced !== '' && (!begun || parts[first]?.type === 'step');
  const attempt = whole ? estimate(question.length) + estimate(untraced.length) : 0;
  return reports.reduce((sum, tokens) => sum + tokens, 0) + steps + attempt;
}

/** The usage after each part. */
const readings = ({ text, parts }: Asked): number[] =>
  parts.map((_, index) => tokensOf(text, parts.slice(0, index + 1)));

const eventTokens = (event: UsageEvent): number =>
  event.kind === 'SIGN_IN' ? 0 : event.inputTokens + event.outputTokens;

/** What every send of the run was answered with. */
function checkSends(sent: readonly Sent[], messages: ReadonlyMap<string, Message>) {
  for (const { result, error, before, content, instance } of sent) {
    if (instance.gate.alive()) expect(result ?? error, 'every send is answered').not.toBeNull();
    if (error !== null) expect(error).toBeInstanceOf(AppError);
    const code = error instanceof AppError ? error.code : null;
    if (code !== null) expect(REFUSALS).toContain(code);
    if (result) {
      const { userMessage, assistantMessage } = result;
      expect(messages.get(userMessage.id)).toMatchObject({ role: 'USER', content });
      expect(messages.get(assistantMessage.id)).toMatchObject({ role: 'ASSISTANT' });
      expect(assistantMessage.sequence).toBe(userMessage.sequence + 1);
    }
    if (before?.result && instance.gate.alive()) {
      if (before.content === content) {
        expect(result?.assistantMessage.id, 'a repeated key').toBe(before.result.assistantMessage.id);
      } else expect(code, 'other content with the same key').toBe('IDEMPOTENCY_CONFLICT');
    }
  }
  const acknowledged = sent.filter(({ result }) => result !== null);
  const turnOf = ({ conversationId, key }: Sent) => `${conversationId} ${key}`;
  for (const [turn, same] of Map.groupBy(acknowledged, turnOf)) {
    const ids = new Set(same.map(({ result }) => result?.assistantMessage.id));
    if (turn.endsWith(' null')) expect(ids.size, 'a send without a key').toBe(same.length);
    else expect(ids.size, 'a send with a key').toBe(1);
  }
}

/** Numbers without gaps, a question and its answer in turns, every answer ended within what its agent said. */
function checkMessages(stored: readonly Message[], messageCount: number | undefined, asked: readonly Asked[]) {
  expect(stored.map(({ sequence }) => sequence)).toEqual(Array.from(stored, (_, index) => index + 1));
  expect(messageCount).toBe(stored.length);
  expect(stored.map(({ role }) => role)).toEqual(stored.map((_, index) => (index % 2 ? 'ASSISTANT' : 'USER')));
  for (const [index, answer] of stored.entries()) {
    if (answer.role === 'USER') continue;
    const question = stored[index - 1]!.content;
    const [said, ...again] = asked.filter(({ text }) => text === question);
    expect(again, 'the agent is asked once').toEqual([]);
    expect(answer.status).not.toBe('STREAMING');
    const text = saidOf(said?.parts ?? []);
    expect(text.startsWith(answer.content), `${answer.content} is what the agent said of ${text}`).toBe(true);
    if (answer.status === 'COMPLETED') expect([said?.end, answer.content]).toEqual(['ENDED', text]);
  }
}

/** One event a turn, of what its agent reported. */
function checkUsage(stored: readonly Message[], events: readonly UsageEvent[], asked: readonly Asked[]) {
  const turns = events.filter((event) => event.kind === 'TURN');
  const late = events.filter((event) => event.kind === 'LATE_TOKENS');
  expect(turns).toHaveLength(stored.length / 2);
  expect(new Set(turns.map(({ turnId }) => turnId)).size).toBe(turns.length);
  for (const event of late) expect(turns.map(({ turnId }) => turnId)).toContain(event.turnId);

  const inOrder = turns.toSorted((one, other) => (one.turnId < other.turnId ? -1 : 1));
  for (const conversation of new Set(stored.map(({ conversationId }) => conversationId))) {
    const answers = stored.filter((message) => message.conversationId === conversation && message.role === 'ASSISTANT');
    const own = inOrder.filter(({ conversationId }) => conversationId === conversation);
    expect(own).toHaveLength(answers.length);
    expect(own.filter(({ first }) => first)).toHaveLength(Math.min(1, answers.length));
  }
  return { turns, late, asked };
}

/** What was metered of one answer, beside what its agent reported. */
function checkTokens(answer: Message, question: Message, tokens: number, asked: readonly Asked[]) {
  const one = asked.find(({ text }) => text === question.content);
  if (!one) return expect(tokens, 'a turn that never asked').toBe(0);
  const known = readings(one);
  const crashed = !one.instance.gate.alive();
  const whole = answer.status === 'COMPLETED' || answer.error?.code === 'AGENT_UNAVAILABLE';
  const spare = estimate(question.content.length) + estimate(saidOf(one.parts).length) + 1;
  const label = `${answer.status} ${answer.error?.code} of ${JSON.stringify(one.parts)}`;
  if (whole) return expect(tokens, label).toBe(known.at(-1));
  if (crashed) return expect(tokens, label).toBeLessThanOrEqual(Math.max(...known) + spare);
  // A part that is taken when the turn is stopped may not count any more.
  const taken = one.answering.taken();
  return expect([known[taken - 1] ?? 0, known[taken - 2] ?? 0], label).toContain(tokens);
}

/** What one reader saw of one stream. `deltas`: what every reader of the run saw at each number. */
function checkReader(
  { after, events, state, instance }: Reader,
  answer: Message,
  { deltas, crashed }: { readonly deltas: Map<string, string>; readonly crashed: ReadonlySet<string> },
) {
  const open = state === 'READING' && instance.gate.alive();
  expect(open, 'every reader is told the end').toBe(false);
  const ends = events.filter(isTerminal);
  if (state === 'DONE') expect(ends).toHaveLength(1);
  expect(ends.length).toBeLessThanOrEqual(1);
  const spoken = events.filter((event) => !isTerminal(event));
  expect(spoken.map(({ sequence }) => sequence)).toEqual(spoken.map((_, index) => after + 1 + index));
  for (const event of spoken) {
    const name = `${answer.id} ${event.sequence}`;
    const text = JSON.stringify(event);
    expect(deltas.get(name) ?? text, 'two readers see the same').toBe(text);
    deltas.set(name, text);
  }
  if (ends[0]) {
    expect(events.at(-1)).toBe(ends[0]);
    expect(ends[0].message).toEqual(answer);
    expect(ends[0].type).toBe(answer.status);
    expect(ends[0].sequence).toBe(answer.lastEvent);
    // A process that stalls past its lease may say more than the repair knew of when it numbered the end (docs/streaming.md, rule 3).
    const overtaken = answer.error?.code === 'INTERRUPTED';
    if (spoken.length > 0 && !overtaken) expect(ends[0].sequence, 'the end follows').toBe(spoken.at(-1)!.sequence + 1);
    if (overtaken) return; // what it said beyond that, the stored text does not hold
    const text = spoken.map((event) => (event.type === 'DELTA' ? event.text : '')).join('');
    // What was held back to be sent together may be stored, and never sent, by a process that dies.
    if (after > 0 || spoken.length === 0) expect(answer.content).toContain(text);
    else if (crashed.has(answer.id)) expect(answer.content.startsWith(text)).toBe(true);
    else expect(text).toBe(answer.content);
  }
}

/** What holds whenever everything has come to rest. */
export async function checkAtRest(run: Run): Promise<void> {
  const { bench, sent, asked, readers, faults, conversations } = run;
  expect(faults).toEqual([]);
  const stored: Message[] = [];
  for (const id of conversations) {
    const state = await bench.direct.conversations.state(id);
    expect(state?.lock).toBeNull();
    const messages = await bench.direct.messages.range(id, 1, 200);
    checkMessages(messages, state?.conversation.messageCount, asked);
    stored.push(...messages);
  }
  const byId = new Map(stored.map((message) => [message.id, message]));
  checkSends(sent, byId);
  for (const message of stored) {
    const end = run.ends.get(message.id);
    if (end) expect(JSON.stringify(message, Object.keys(message).sort()), 'an end stays').toBe(end);
  }
  expect(new Set(asked.map(({ text }) => text)).size, 'no turn asks twice').toBe(asked.length);

  expect(await run.dueLater()).toEqual([]);
  expect((await bench.dueStore.parked()).filter(({ tenantId }) => tenantId === bench.tenantId)).toEqual([]);

  const now = run.clock.now();
  const events = await collect(bench.direct.usage.events(now - 4 * 3_600_000, now + 1));
  const { turns } = checkUsage(stored, events, asked);
  const turnIds = await bench.turnIdsOf(stored);
  for (const answer of stored.filter(({ role }) => role === 'ASSISTANT')) {
    const turnId = turnIds.get(answer.id);
    const own = events.filter((event) => event.kind !== 'SIGN_IN' && event.turnId === turnId);
    expect(turns.find((turn) => turn.turnId === turnId)).toMatchObject({ status: answer.status });
    const question = stored.find(
      ({ conversationId, sequence }) => conversationId === answer.conversationId && sequence === answer.sequence - 1,
    )!;
    checkTokens(
      answer,
      question,
      own.reduce((sum, event) => sum + eventTokens(event), 0),
      asked,
    );
  }
  const used = events.reduce((sum, event) => sum + eventTokens(event), 0);
  expect(await bench.quota()).toMatchObject({ usedInMonth: used, holds: {} });

  const deltas = new Map<string, string>();
  const died = new Set(asked.filter(({ instance }) => !instance.gate.alive()).map(({ text }) => text));
  const crashed = new Set(stored.filter((_, index) => died.has(stored[index - 1]?.content ?? '')).map(({ id }) => id));
  for (const reader of readers) checkReader(reader, byId.get(reader.messageId)!, { deltas, crashed });
}
