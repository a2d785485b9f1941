import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { AgentCall } from '../../src/adapters/bedrock/agent-runtime.ts';
import { createBedrockAgents } from '../../src/adapters/bedrock/answer-source.ts';
import { agentFault } from '../../src/adapters/bedrock/faults.ts';
import { readMeter } from '../../src/conversations/metering.ts';
import type { AnswerPart } from '../../src/conversations/ports.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { AppError } from '../../src/kernel/errors.ts';
import { parseTenantId } from '../../src/tenancy/tenant-id.ts';
import { AGENT, aQuestion, readAnswer } from '../support/bedrock-agents.ts';

const text: AnswerPart = { type: 'text', text: 'Hi' };
const trace: AnswerPart = { type: 'trace', traceId: null };
const usage: AnswerPart = { type: 'usage', inputTokens: 100, outputTokens: 10, modelId: null };
const citation: AnswerPart = { type: 'citation', citation: { text: 'x', source: null, title: null } };
const action: AnswerPart = { type: 'action' };
const found = { name: 'KBONE', latencyMs: 1, results: 2, failed: false };
const lookup = { type: 'activity', service: 'KNOWLEDGE_BASE', ...found } as const;

const SILENCE = Symbol('silence');

/** What a call does: it gives these parts, and ends with this exception, or well, or falls silent. */
interface Script {
  readonly parts?: readonly AnswerPart[];
  readonly end?: string | AppError | typeof SILENCE;
}

const exception = (name: string) => agentFault(Object.assign(new Error('emulated'), { name }));

/** Agents whose calls do as the scripts say, one after the other; the last one for all that follow. */
function scripted(scripts: readonly Script[], aliasIds: readonly [string, ...string[]] = ['ONE']) {
  const asked: { readonly aliasId: string; readonly at: number; readonly signal: AbortSignal }[] = [];
  const queue = [...scripts];
  const call: AgentCall = async function* (_agent, aliasId, _question, signal) {
    asked.push({ aliasId, at: Date.now(), signal });
    const { parts = [], end } = (queue.length > 1 ? queue.shift() : queue[0]) ?? {};
    yield { type: 'attempt', aliasId };
    yield* parts;
    if (end === undefined) return;
    if (end !== SILENCE) throw typeof end === 'string' ? exception(end) : end;
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener('abort', () => resolve());
    });
    throw exception('AbortError');
  };
  const agents = [
    { ...AGENT, bedrock: { agentId: 'AGENT', aliasIds } },
    { ...AGENT, id: 'other' },
  ];
  const source = createBedrockAgents({
    call,
    definitionOf: (id) => agents.find((agent) => agent.id === id) ?? null,
    clock: systemClock,
    firstTextTimeoutMs: 5_000,
    turnTimeoutMs: 60_000,
    retryBaseMs: 200,
  });
  return { source, asked, play: (...next: readonly Script[]) => queue.splice(0, Infinity, ...next) };
}

type Agents = ReturnType<typeof scripted>;

const tenant = (slug: string) => parseTenantId(slug)!;

/** Reads an answer, with the time running as fast as it can. */
async function ask({ source }: Agents, slug = 'acme', agentId = 'support') {
  const answer = readAnswer(source, aQuestion({ tenantId: tenant(slug), agentId }));
  await vi.runAllTimersAsync();
  return answer;
}

const aliasesOf = ({ asked }: Agents) => asked.map(({ aliasId }) => aliasId);
const retryable = (retryAfterMs: number) => ({ code: 'AGENT_UNAVAILABLE', details: { retryable: true, retryAfterMs } });

beforeEach(() => vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] }));
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

describe('retry', () => {
  const TRANSIENT = [
    'ThrottlingException',
    'InternalServerException',
    'BadGatewayException',
    'DependencyFailedException',
    'ModelNotReadyException',
    'ConflictException',
    'ECONNRESET',
  ];

  it.each(TRANSIENT)('%s before anything was said is tried again, twice at most', async (name) => {
    const once = scripted([{ parts: [trace], end: name }, { parts: [text] }]);
    expect(await ask(once)).toMatchObject({ text: 'Hi', error: null });
    expect(once.asked).toHaveLength(2);

    const always = scripted([{ end: name }]);
    const { error } = await ask(always);
    expect(error).toMatchObject({ code: 'AGENT_UNAVAILABLE', details: { retryable: true } });
    expect(error?.details['retryAfterMs']).toBeGreaterThan(0);
    expect(always.asked).toHaveLength(3);
  });

  it.each([
    ['text', text],
    ['a citation', citation],
    ['a tool that was called', action],
    ['a tool that answered', { ...lookup, service: 'ACTION_GROUP' }],
  ] satisfies [string, AnswerPart][])(
    'after %s nothing is asked again, and no other alias: what came stays',
    async (_what, part) => {
      const agents = scripted(
        [{ parts: [trace, part], end: 'ThrottlingException' }, { parts: [text] }],
        ['ONE', 'TWO'],
      );
      const { error, parts } = await ask(agents);
      expect(error).toMatchObject(retryable(1_000));
      expect(parts).toEqual([{ type: 'attempt', aliasId: 'ONE' }, trace, part]);
      expect(agents.asked).toHaveLength(1);
    },
  );

  it('traces, lookups, reports and empty texts are no beginning', async () => {
    const begun = [trace, lookup, usage, { type: 'text', text: '' }] as const;
    const agents = scripted([{ parts: begun, end: 'ThrottlingException' }, { parts: [text] }]);
    expect((await ask(agents)).text).toBe('Hi');
  });

  it('what failed calls used is counted, with the calls and the alias that answered last', async () => {
    const failing = { parts: [usage], end: 'InternalServerException' };
    const agents = scripted([failing, failing, failing, { parts: [usage, text] }], ['ONE', 'TWO']);
    const { parts } = await ask(agents);
    const meter = readMeter(10);
    for (const part of parts) meter.take(part, 0);
    expect(meter.total(0)).toMatchObject({ attempts: 4, aliasId: 'TWO', inputTokens: 400, outputTokens: 40 });
  });

  it('parts come as they are given, before it is known whether the call begins', async () => {
    const answer = scripted([{ parts: [usage], end: SILENCE }]).source.answer(aQuestion(), AbortSignal.timeout(1e6));
    const reading = answer[Symbol.asyncIterator]();
    expect((await reading.next()).value).toEqual({ type: 'attempt', aliasId: 'ONE' });
    expect((await reading.next()).value).toEqual(usage);
    await reading.return?.();
  });

  it('pauses grow, and are not the same for everybody', async () => {
    const pauses = async (chance: number) => {
      vi.spyOn(Math, 'random').mockReturnValue(chance);
      const agents = scripted([{ end: 'ThrottlingException' }]);
      await ask(agents);
      const [first = 0, second = 0, third = 0] = agents.asked.map(({ at }) => at);
      return [second - first, third - second];
    };
    expect(await pauses(0)).toEqual([100, 200]);
    expect(await pauses(0.5)).toEqual([150, 300]);
    expect(await pauses(0.99)).toEqual([199, 398]);
  });

  it.each(['ValidationException', 'UnrecognizedClientException 403'])('%s is not tried again', async (name) => {
    const [named = '', status] = name.split(' ');
    const fault = agentFault(
      Object.assign(new Error('x'), { name: named, $metadata: { httpStatusCode: Number(status) } }),
    );
    const agents = scripted([{ end: fault }, { parts: [text] }], ['ONE', 'TWO']);
    expect((await ask(agents)).error).toMatchObject({ details: { retryable: false } });
    expect(agents.asked).toHaveLength(1);
  });

  it.each(['ISOLATION_VIOLATION', 'AGENT_UNAVAILABLE'] as const)('%s of our own is final', async (code) => {
    const agents = scripted(
      [{ end: new AppError(code, 'x', { retryable: false }) }, { parts: [text] }],
      ['ONE', 'TWO'],
    );
    expect((await ask(agents)).error?.code).toBe(code);
    expect(agents.asked).toHaveLength(1);
  });

  it('an answer that ends without a word is not asked for again', async () => {
    const agents = scripted([{ parts: [usage] }, { parts: [text] }]);
    expect(await ask(agents)).toMatchObject({ text: '', error: null });
    expect(agents.asked).toHaveLength(1);
  });
});

describe('fallback', () => {
  const FAULT = { end: 'ThrottlingException' };

  it('asks each alias in order, each with its retries, and says what the last one said', async () => {
    const agents = scripted([FAULT, FAULT, FAULT, { end: 'InternalServerException' }], ['ONE', 'TWO', 'THREE']);
    expect((await ask(agents)).error).toMatchObject({ message: 'The agent failed.', ...retryable(2_000) });
    expect(aliasesOf(agents)).toEqual(['ONE', 'ONE', 'ONE', 'TWO', 'TWO', 'TWO', 'THREE', 'THREE', 'THREE']);
  });

  it.each(['ServiceQuotaExceededException', 'AccessDeniedException', 'ResourceNotFoundException', 'TimeoutError'])(
    '%s: the next alias at once',
    async (name) => {
      const agents = scripted([{ end: name }, { parts: [text] }], ['ONE', 'TWO']);
      expect((await ask(agents)).text).toBe('Hi');
      expect(aliasesOf(agents)).toEqual(['ONE', 'TWO']);
      expect(agents.asked[1]?.at).toBe(agents.asked[0]?.at);
    },
  );

  it('an alias that is gone does not hide that the first one was only busy', async () => {
    const agents = scripted([FAULT, FAULT, FAULT, { end: 'ResourceNotFoundException' }], ['ONE', 'TWO']);
    expect((await ask(agents)).error).toMatchObject(retryable(1_000));
  });
});

describe('timeouts', () => {
  it('the first text: from the beginning of the call, whatever is traced; then the next alias', async () => {
    const agents = scripted([{ parts: [trace], end: SILENCE }], ['ONE', 'TWO']);
    const startedAt = Date.now();
    const { error } = await ask(agents);
    expect(error).toMatchObject({ message: 'The agent took too long to begin its answer.', ...retryable(5_000) });
    expect(agents.asked.map(({ aliasId, at }) => [aliasId, at - startedAt])).toEqual([
      ['ONE', 0],
      ['TWO', 5_000],
    ]);
    expect(agents.asked.every(({ signal }) => signal.aborted)).toBe(true);
  });

  it('a call that has begun is not ended by it', async () => {
    const agents = scripted([{ parts: [text], end: SILENCE }]);
    const { error, text: said } = await ask(agents);
    expect(said).toBe('Hi');
    expect(error).toMatchObject({ message: 'The agent took too long to finish its answer.', ...retryable(5_000) });
  });

  it('the whole answer: also over many aliases, and the call is ended', async () => {
    const aliases = Array.from({ length: 20 }, (_, n) => `ALIAS${n}`) as [string, ...string[]];
    const agents = scripted([{ end: SILENCE }], aliases);
    const startedAt = Date.now();
    const { error } = await ask(agents);
    expect(error).toMatchObject({ message: 'The agent took too long to finish its answer.', ...retryable(5_000) });
    expect(Date.now() - startedAt).toBe(60_000);
    expect(agents.asked).toHaveLength(12);
    expect(agents.asked.at(-1)?.signal.aborted).toBe(true);
  });

  it('leaves no timer behind', async () => {
    await ask(scripted([{ end: 'ThrottlingException' }, { parts: [text] }]));
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('stopping', () => {
  it.each([
    ['in a pause', { end: 'ThrottlingException' }, 50],
    ['while the agent is silent', { end: SILENCE }, 50],
  ] satisfies [string, Script, number][])(
    '%s ends the answer at once, and nothing is asked any more',
    async (_when, script, afterMs) => {
      const agents = scripted([script], ['ONE', 'TWO']);
      const control = new AbortController();
      const answer = readAnswer(agents.source, aQuestion(), control.signal);
      await vi.advanceTimersByTimeAsync(afterMs);
      control.abort('CANCELLED');
      expect((await answer).error).not.toBeNull();
      await vi.runAllTimersAsync();
      expect(agents.asked).toHaveLength(1);
      expect(agents.asked[0]?.signal.aborted).toBe(true);
    },
  );

  it('leaving the iteration before anything was said ends the call', async () => {
    const agents = scripted([{ end: SILENCE }]);
    for await (const part of agents.source.answer(aQuestion(), new AbortController().signal))
      if (part.type === 'attempt') break;
    expect(agents.asked[0]?.signal.aborted).toBe(true);
    await vi.runAllTimersAsync();
    expect(agents.asked).toHaveLength(1);
  });

  it('a breach of isolation is said even to those who are stopping', async () => {
    const breach = new AppError('ISOLATION_VIOLATION', 'x', { retryable: false });
    const control = new AbortController();
    const agents = scripted([{ parts: [text, trace], end: breach }]);
    const { error } = await readAnswer(agents.source, aQuestion(), control.signal, (part) => {
      if (part.type === 'trace') control.abort('CANCELLED');
    });
    expect(error?.code).toBe('ISOLATION_VIOLATION');
  });
});

describe('the circuit breaker', () => {
  const DOWN = { end: 'InternalServerException' };
  const UP = { parts: [text] };
  const OPEN = 'The agent is failing, and is not asked for a moment.';

  async function fail(agents: Agents, ...tenants: readonly string[]) {
    for (const slug of tenants) expect((await ask(agents, slug)).error?.message).toBe('The agent failed.');
  }

  /** Whether the next answer is refused without a call. */
  async function isOpen(agents: Agents, slug = 'acme', agentId = 'support') {
    const calls = agents.asked.length;
    const { error, parts } = await ask(agents, slug, agentId);
    if (error?.message !== OPEN) return false;
    expect([parts, agents.asked.length]).toEqual([[], calls]);
    return true;
  }

  /** An answer that was given, so that the tenant uses the agent. */
  async function succeed(agents: Agents, slug: string) {
    agents.play(UP);
    expect((await ask(agents, slug)).error).toBeNull();
    agents.play(DOWN);
  }

  it('opens on failures of two tenants, and says how long it stays open', async () => {
    const agents = scripted([DOWN], ['ONE', 'TWO']);
    await fail(agents, 'acme', 'acme', 'acme', 'globex');
    expect(await isOpen(agents)).toBe(false); // the fifth failure
    expect(await isOpen(agents)).toBe(true);
    expect((await ask(agents)).error).toMatchObject(retryable(10_000));
    vi.advanceTimersByTime(4_000);
    expect((await ask(agents, 'initech')).error).toMatchObject(retryable(6_000));
    expect(await isOpen(agents, 'acme', 'other')).toBe(false);
  });

  it('does not open on one tenant’s failures while another is served', async () => {
    const agents = scripted([DOWN]);
    await succeed(agents, 'globex');
    await fail(agents, ...Array<string>(8).fill('acme'));
    expect(await isOpen(agents, 'globex')).toBe(false);
  });

  it('nor while another waits for its answer', async () => {
    const agents = scripted([{ end: SILENCE }]);
    const control = new AbortController();
    const waiting = readAnswer(agents.source, aQuestion({ tenantId: tenant('globex') }), control.signal);
    agents.play(DOWN);
    for (let n = 0; n < 8; n++) {
      const answer = readAnswer(agents.source, aQuestion());
      await vi.advanceTimersByTimeAsync(601);
      expect((await answer).error?.message).toBe('The agent failed.');
    }
    control.abort();
    await waiting;
  });

  it('opens on the failures of a tenant that alone uses the agent; use that is long ago does not count', async () => {
    const agents = scripted([DOWN]);
    await succeed(agents, 'globex');
    vi.advanceTimersByTime(30_001);
    await fail(agents, ...Array<string>(5).fill('acme'));
    expect(await isOpen(agents)).toBe(true);
  });

  it('does not open on few failures, on few among many, or on old ones', async () => {
    const few = scripted([DOWN]);
    await fail(few, 'acme', 'globex', 'acme', 'globex');
    vi.advanceTimersByTime(30_001);
    await fail(few, 'acme', 'globex', 'acme', 'globex');

    const many = scripted([UP]);
    for (let n = 0; n < 8; n++) await succeed(many, 'acme');
    await fail(many, 'acme', 'globex', 'acme', 'globex', 'acme', 'globex');
    expect(await isOpen(many)).toBe(false);
  });

  it.each([
    'ValidationException',
    'ServiceQuotaExceededException',
    'DependencyFailedException',
    'ConflictException',
    'AccessDeniedException',
    'ResourceNotFoundException',
    'ISOLATION_VIOLATION',
  ])('%s does not open it', async (name) => {
    const end = name === 'ISOLATION_VIOLATION' ? new AppError(name, 'x', { retryable: false }) : name;
    const agents = scripted([{ end }]);
    for (let n = 0; n < 8; n++) await ask(agents, n % 2 ? 'acme' : 'globex');
    expect(await isOpen(agents)).toBe(false);
  });

  it.each(['ThrottlingException', 'ModelNotReadyException', 'BadGatewayException', 'ECONNREFUSED', 'TimeoutError'])(
    '%s opens it',
    async (end) => {
      const agents = scripted([{ end }]);
      for (let n = 0; n < 5; n++) await ask(agents, n % 2 ? 'acme' : 'globex');
      expect(await isOpen(agents)).toBe(true);
    },
  );

  it('what happens after the beginning does not count, nor what the caller stopped', async () => {
    const agents = scripted([{ parts: [text], end: 'InternalServerException' }]);
    for (let n = 0; n < 8; n++) await ask(agents, n % 2 ? 'acme' : 'globex');
    expect(await isOpen(agents)).toBe(false);

    agents.play({ end: SILENCE });
    for (let n = 0; n < 8; n++) {
      const control = new AbortController();
      const answer = readAnswer(agents.source, aQuestion(), control.signal, () => control.abort());
      await vi.advanceTimersByTimeAsync(1);
      await answer;
    }
    expect(await isOpen(agents)).toBe(false);
  });

  it('does not open on an alias that is down while another stands in for it', async () => {
    const agents = scripted([DOWN], ['ONE', 'TWO']);
    for (let n = 0; n < 8; n++) {
      agents.play(DOWN, DOWN, DOWN, UP);
      expect((await ask(agents, n % 2 ? 'acme' : 'globex')).text).toBe('Hi');
    }
  });

  describe('once its time is over', () => {
    async function opened(scripts: readonly Script[] = [DOWN]) {
      const agents = scripted(scripts);
      agents.play(DOWN);
      await fail(agents, 'acme', 'globex', 'acme', 'globex', 'acme');
      expect(await isOpen(agents)).toBe(true);
      vi.advanceTimersByTime(10_000);
      return agents;
    }

    it('one call tries: if it begins the agent is asked as before, with a clean slate', async () => {
      const agents = await opened();
      await succeed(agents, 'acme');
      await fail(agents, 'acme', 'globex', 'acme', 'globex');
      expect(await isOpen(agents)).toBe(false);
    });

    it('if it fails it stays open as long again', async () => {
      const agents = await opened();
      await fail(agents, 'acme');
      expect((await ask(agents, 'globex')).error).toMatchObject(retryable(10_000));
    });

    it('others do not wait for the call that tries, and are served while its answer streams', async () => {
      const agents = await opened();
      agents.play({ parts: [trace], end: SILENCE });
      const control = new AbortController();
      const trying = readAnswer(agents.source, aQuestion(), control.signal);
      await vi.advanceTimersByTimeAsync(1);
      const { error } = await readAnswer(agents.source, aQuestion({ tenantId: tenant('globex') })); // no time passes
      expect(error).toMatchObject({ message: OPEN, ...retryable(1_000) });

      agents.play({ parts: [text], end: SILENCE });
      control.abort();
      await trying;
      await vi.advanceTimersByTimeAsync(1);
      const streaming = readAnswer(agents.source, aQuestion());
      await vi.advanceTimersByTimeAsync(1);
      agents.play(UP);
      expect((await readAnswer(agents.source, aQuestion({ tenantId: tenant('globex') }))).text).toBe('Hi');
      await vi.runAllTimersAsync();
      expect((await streaming).error?.message).toBe('The agent took too long to finish its answer.');
    });

    it('a try that its caller stopped proves nothing: the next one tries', async () => {
      const agents = await opened();
      agents.play({ end: SILENCE });
      const control = new AbortController();
      const trying = readAnswer(agents.source, aQuestion(), control.signal);
      await vi.advanceTimersByTimeAsync(1);
      control.abort();
      await trying;
      await vi.advanceTimersByTimeAsync(1);
      agents.play(DOWN);
      await fail(agents, 'acme'); // it is asked, and one failure opens it
      expect(await isOpen(agents)).toBe(true);
    });
  });
});
