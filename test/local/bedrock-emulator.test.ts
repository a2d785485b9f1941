import { connect } from 'node:net';
import { once } from 'node:events';
import type {
  Citation,
  InvokeAgentCommandInput,
  KnowledgeBaseConfiguration,
  OrchestrationTrace,
  RetrievalFilter,
  ReturnControlPayload,
  TracePart,
} from '@aws-sdk/client-bedrock-agent-runtime';
import {
  BedrockAgentRuntimeClient,
  DeleteAgentMemoryCommand,
  InvokeAgentCommand,
} from '@aws-sdk/client-bedrock-agent-runtime';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createAgentMemories } from '../../src/adapters/bedrock/agent-memories.ts';
import type { Clock } from '../../src/kernel/clock.ts';
import type { BedrockEmulator, BedrockEmulatorOptions, Passage } from '../../src/local/bedrock/emulator.ts';
import { startBedrockEmulator } from '../../src/local/bedrock/emulator.ts';
import { createInvocationLog } from '../../src/local/bedrock/invocation-log.ts';
import { createSessionStore, sessionOf } from '../../src/local/bedrock/sessions.ts';
import { demoAgents, demoPassages } from '../../src/local/demo-corpus.ts';
import { demoAgentDefinitions } from '../../src/local/demo-data.ts';
import { parseTenantId } from '../../src/tenancy/tenant-id.ts';

/** A clock on which every wait is over at once; `waits` tells what was asked for. */
const instantClock = (): Clock & { readonly waits: number[] } => {
  let now = Date.UTC(2026, 10, 20);
  const waits: number[] = [];
  return {
    waits,
    now: () => now,
    after(ms, task) {
      waits.push(ms);
      const turn = setImmediate(() => {
        now += ms;
        task();
      });
      return () => clearImmediate(turn);
    },
  };
};

let emulator: BedrockEmulator;
let client: BedrockAgentRuntimeClient;
let clock: ReturnType<typeof instantClock>;

const start = async (options: Partial<BedrockEmulatorOptions> = {}) => {
  clock = instantClock();
  emulator = await startBedrockEmulator({ agents: demoAgents, passages: demoPassages, clock, ...options });
  client = new BedrockAgentRuntimeClient({
    region: 'us-east-1',
    endpoint: emulator.url,
    maxAttempts: 1,
    credentials: { accessKeyId: 'emulated', secretAccessKey: 'emulated' },
    requestHandler: new NodeHttpHandler(),
  });
};

const stop = async () => {
  client.destroy();
  await emulator.close();
};

const restart = async (options: Partial<BedrockEmulatorOptions>) => stop().then(() => start(options));

beforeEach(() => start());
afterEach(stop);

const search = (filter?: RetrievalFilter, numberOfResults?: number, id = 'KBSUPPORT1'): KnowledgeBaseConfiguration => ({
  knowledgeBaseId: id,
  retrievalConfiguration: { vectorSearchConfiguration: { filter, numberOfResults } },
});
const only = (tenantId: string) => search({ equals: { key: 'tenantId', value: tenantId } });

interface Heard {
  sessionId: string | undefined;
  text: string;
  chunks: Uint8Array[];
  citations: Citation[];
  traces: TracePart[];
  steps: OrchestrationTrace[];
  order: string[];
  returnControl: ReturnControlPayload | undefined;
}

const ask = async (inputText: string | undefined, input: Partial<InvokeAgentCommandInput> = {}): Promise<Heard> => {
  const output = await client.send(
    new InvokeAgentCommand({
      agentId: 'AGSUPPORT1',
      agentAliasId: 'ALSUPPORT1',
      sessionId: 'acme.session',
      inputText,
      enableTrace: true,
      streamingConfigurations: { streamFinalResponse: true },
      sessionState: { knowledgeBaseConfigurations: [only('acme')] },
      ...input,
    }),
  );
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const heard: Heard = {
    sessionId: output.sessionId,
    text: '',
    chunks: [],
    citations: [],
    traces: [],
    steps: [],
    order: [],
    returnControl: undefined,
  };
  for await (const event of output.completion ?? []) {
    if (event.chunk?.bytes) {
      heard.chunks.push(event.chunk.bytes);
      heard.text += decoder.decode(event.chunk.bytes, { stream: true });
      heard.citations.push(...(event.chunk.attribution?.citations ?? []));
      heard.order.push('chunk');
    }
    const step = event.trace?.trace?.orchestrationTrace;
    if (event.trace && step) {
      heard.traces.push(event.trace);
      heard.steps.push(step);
      heard.order.push(Object.keys(step)[0] ?? '');
    }
    heard.returnControl ??= event.returnControl;
  }
  heard.text += decoder.decode();
  return heard;
};

const usages = ({ steps }: Heard) => steps.flatMap((step) => step.modelInvocationOutput?.metadata?.usage ?? []);
const sum = (numbers: (number | undefined)[]) => numbers.reduce<number>((total, each) => total + (each ?? 0), 0);
const tenantsIn = (references: { metadata?: Record<string, unknown> | undefined }[]) =>
  [...new Set(references.map(({ metadata }) => metadata?.['tenantId']))].sort();
const found = ({ steps }: Heard) =>
  steps.flatMap((step) => step.observation?.knowledgeBaseLookupOutput?.retrievedReferences ?? []);
const cited = ({ citations }: Heard) => citations.flatMap((citation) => citation.retrievedReferences ?? []);
const titles = (heard: Heard) => found(heard).map(({ metadata }) => metadata?.['title']);

describe('a call', () => {
  it('is answered from the documents of the tenant, under the session id it came with', async () => {
    const heard = await ask('How do refunds work?');
    expect(heard.sessionId).toBe('acme.session');
    expect(heard.text).toContain('Acme refunds unlit rockets and unused anvils in full within 30 days');
  });

  it('is recorded with its attributes, its filter and exactly the tokens that were sent', async () => {
    const sessionState = { sessionAttributes: { tenantId: 'acme' }, knowledgeBaseConfigurations: [only('acme')] };
    const heard = await ask('How do refunds work?', { sessionState });
    expect(emulator.served()).toEqual([
      {
        agentId: 'AGSUPPORT1',
        aliasId: 'ALSUPPORT1',
        sessionId: 'acme.session',
        question: 'How do refunds work?',
        sessionAttributes: { tenantId: 'acme' },
        filters: { KBSUPPORT1: { equals: { key: 'tenantId', value: 'acme' } } },
        attempt: 1,
        inputTokens: sum(usages(heard).map(({ inputTokens }) => inputTokens)),
        outputTokens: sum(usages(heard).map(({ outputTokens }) => outputTokens)),
        requestId: expect.any(String) as string,
        memoryId: null,
        tracesSent: heard.traces.length,
        lookups: [{ knowledgeBaseId: 'KBSUPPORT1', results: expect.any(Number) as number }],
        actions: [],
        chunksSent: heard.chunks.length,
        outcome: 'completed',
        error: null,
        clientHungUp: false,
      },
    ]);
  });

  it('records no filter as null, so that its absence can be asserted', async () => {
    await ask('refunds', { sessionState: {} });
    expect(emulator.served()[0]?.filters).toEqual({ KBSUPPORT1: null });
  });

  it('reset() forgets records, sessions and attempts', async () => {
    await ask('refunds');
    emulator.reset();
    expect(emulator.served()).toEqual([]);
    expect((await ask('refunds')).text).not.toContain('question 2');
    expect(emulator.served()[0]?.attempt).toBe(1);
  });

  it('finds close() done, however often it was called', async () => {
    await emulator.close();
    await emulator.close();
    await expect(ask('refunds?')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });
});

describe('answers', () => {
  it('are the same for the same question, passages and agent', async () => {
    const [first, second] = [
      await ask('warranty?', { sessionId: 'one' }),
      await ask('warranty?', { sessionId: 'two' }),
    ];
    expect(second.text).toBe(first.text);
    expect(second.citations).toEqual(first.citations);
    expect(usages(second)).toEqual(usages(first));
  });

  it('differ by question, by tenant and by agent', async () => {
    const texts = [
      await ask('refunds?', { sessionId: 's1' }),
      await ask('warranty?', { sessionId: 's2' }),
      await ask('refunds?', { sessionId: 's3', sessionState: { knowledgeBaseConfigurations: [only('globex')] } }),
      await ask('refunds?', { sessionId: 's4', agentId: 'AGANALYST1', agentAliasId: 'ALANALYST1', sessionState: {} }),
    ].map(({ text }) => text);
    expect(new Set(texts).size).toBe(4);
  });

  it('count the earlier questions of the session and refer back to the last', async () => {
    await ask('refunds?');
    await ask('warranty?');
    const { text } = await ask('shipping?');
    expect(text).toContain('question 3');
    expect(text).toContain('“warranty?”');
    expect((await ask('shipping?', { sessionId: 'other' })).text).not.toContain('question');
  });

  it('remember the session under every alias of the agent', async () => {
    await ask('refunds?');
    expect((await ask('warranty?', { agentAliasId: 'ALSUPPORT2' })).text).toContain('question 2');
  });

  it('take conversationHistory for a new session only', async () => {
    const sessionState = {
      conversationHistory: {
        messages: [
          { role: 'user' as const, content: [{ text: 'what was before' }] },
          { role: 'assistant' as const, content: [{ text: 'something' }] },
        ],
      },
    };
    expect((await ask('refunds?', { sessionState })).text).toContain('question 2 of our conversation');
    const { text } = await ask('warranty?', { sessionState });
    expect(text).toContain('question 3 of our conversation');
    expect(text).toContain('“refunds?”');
  });

  it('forget the session after endSession', async () => {
    await ask('refunds?');
    expect((await ask('warranty?', { endSession: true })).text).toContain('question 2');
    expect((await ask('shipping?')).text).not.toContain('question');
  });
});

describe('what agents remember', () => {
  const remember = (memoryId: string, aliasId = 'ALSUPPORT1') => ask('refunds?', { memoryId, agentAliasId: aliasId });
  const agent = { agentId: 'AGSUPPORT1', agentAliasId: 'ALSUPPORT1' };
  beforeEach(async () => {
    await stop();
    await start({ agents: demoAgents.map((each) => ({ ...each, memory: true })) });
  });

  it('is named by the answer, and kept for each alias until it is deleted', async () => {
    await remember('acme:mia');
    await remember('acme:noah');
    await remember('acme:mia', 'ALSUPPORT2');
    const { memoryId, completion } = await client.send(
      new InvokeAgentCommand({ ...agent, sessionId: 'acme.s', inputText: 'refunds?', memoryId: 'acme:mia' }),
    );
    expect(memoryId).toBe('acme:mia');
    for await (const _event of completion!);
    const names = ['ALSUPPORT1/acme:mia', 'ALSUPPORT1/acme:noah', 'ALSUPPORT2/acme:mia'];
    expect(emulator.memories()).toEqual(names.map((name) => `AGSUPPORT1/${name}`));
    await client.send(new DeleteAgentMemoryCommand({ ...agent, memoryId: 'acme:mia' }));
    expect(emulator.memories()).toEqual(names.slice(1).map((name) => `AGSUPPORT1/${name}`));
    await client.send(new DeleteAgentMemoryCommand(agent)); // everybody's
    expect(emulator.memories()).toEqual(['AGSUPPORT1/ALSUPPORT2/acme:mia']);
  });

  it('is deleted of one user of one tenant, at every alias of every agent that remembers', async () => {
    for (const memory of ['acme:mia', 'acme:noah', 'globex:mia'])
      for (const alias of ['ALSUPPORT1', 'ALSUPPORT2']) await remember(memory, alias);
    const definitions = demoAgentDefinitions.map((each) => ({ ...each, memory: true }));
    const users = (async function* () {
      yield await Promise.resolve('mia');
    })();
    await createAgentMemories(client, definitions).forget(parseTenantId('acme')!, users);
    expect(emulator.memories().filter((name) => name.endsWith('acme:mia'))).toEqual([]);
    expect(emulator.memories()).toHaveLength(4);
  });

  it('is nothing for an agent that does not, and refused by a name that cannot be one', async () => {
    await stop();
    await start();
    await remember('acme:mia');
    expect(emulator.memories()).toEqual([]);
    await expect(remember('a memory')).rejects.toMatchObject({ name: 'ValidationException' });
    await expect(client.send(new DeleteAgentMemoryCommand({ ...agent, memoryId: '#' }))).rejects.toMatchObject({
      name: 'ValidationException',
    });
  });
});

describe('memory', () => {
  it('keeps the sessions used last and forgets the others', () => {
    const store = createSessionStore(2);
    store.put('a', sessionOf([]));
    store.put('b', sessionOf([]));
    store.get('a');
    store.put('c', sessionOf([]));
    expect(['a', 'b', 'c'].map((key) => store.get(key) !== undefined)).toEqual([true, false, true]);
  });

  it('keeps the invocations served last', () => {
    const log = createInvocationLog(2);
    const target = { agentId: 'a', aliasId: 'b', sessionId: 'c', sessionAttributes: {}, filters: {} };
    for (const question of ['1', '2', '3']) log.open({ ...target, attempt: 1, requestId: 'd', question });
    expect(log.all().map(({ question }) => question)).toEqual(['2', '3']);
  });
});

describe('streaming', () => {
  it('sends many small chunks with streamFinalResponse and a single one without', async () => {
    const streamed = await ask('refunds?', { sessionId: 's1' });
    const whole = await ask('refunds?', { sessionId: 's2', streamingConfigurations: undefined });
    expect(streamed.chunks.length).toBeGreaterThan(8);
    expect(whole.chunks).toHaveLength(1);
    expect(whole.text).toBe(streamed.text);
  });

  it('cuts a character in the middle of its bytes between two chunks', async () => {
    const { chunks, text } = await ask('refunds?');
    const alone = chunks.map((bytes) => new TextDecoder().decode(bytes)).join('');
    expect(alone).toContain('\uFFFD');
    expect(text).not.toContain('\uFFFD');
  });

  it.each([1, 2, 7, 400])('sends exactly chunks=%i, none of them empty', async (chunks) => {
    const heard = await ask(`refunds? [[emulate chunks=${chunks}]]`);
    expect(heard.chunks).toHaveLength(chunks);
    expect(heard.chunks.every(({ length }) => length > 0)).toBe(true);
  });

  it('keeps the pace of chunksPerSecond: one wait between two chunks', async () => {
    await restart({ chunksPerSecond: 10 });
    const { chunks } = await ask('refunds?');
    expect(clock.waits).toEqual(Array(chunks.length - 1).fill(100));
  });

  it('keeps the pace of delayMs when asked', async () => {
    await ask('refunds? [[emulate chunks=4 delayMs=7000]]');
    expect(clock.waits).toEqual([7000, 7000, 7000]);
  });

  it('waits for a client that does not read, and stops when it hangs up', async () => {
    const text = Array.from({ length: 20 }, (_, index) => `${index}${'x'.repeat(6_000)}.`).join(' ');
    await restart({ passages: [{ ...(demoPassages[0] as Passage), text }], chunksPerSecond: Infinity });
    const body = JSON.stringify({ inputText: 'q [[emulate chunks=10000]]' });
    const socket = connect(Number(new URL(emulator.url).port), '127.0.0.1');
    socket.pause();
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    socket.write(
      `POST /agents/AGSUPPORT1/agentAliases/ALSUPPORT1/sessions/ss/text HTTP/1.1\r\nhost: e\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    let sent = -1;
    for (let idleTurns = 0; idleTurns < 500;) {
      await new Promise(setImmediate);
      const now = emulator.served()[0]?.chunksSent ?? -1;
      idleTurns = now > 0 && now === sent ? idleTurns + 1 : 0;
      sent = now;
    }
    expect(sent).toBeLessThan(10_000);
    socket.destroy();
    await vi.waitFor(() => expect(emulator.served()[0]).toMatchObject({ outcome: 'aborted', clientHungUp: true }));
  });
});

describe('traces', () => {
  it('are sent only with enableTrace', async () => {
    const heard = await ask('refunds?', { enableTrace: false });
    expect(heard.traces).toEqual([]);
    expect(emulator.served()[0]).toMatchObject({ inputTokens: 0, outputTokens: 0, outcome: 'completed' });
  });

  it('put the text between the input and the output of the last step', async () => {
    const { order } = await ask('refunds? [[emulate chunks=2]]');
    expect(order).toEqual([
      ...['modelInvocationInput', 'modelInvocationOutput', 'rationale', 'invocationInput', 'observation'],
      ...['modelInvocationInput', 'chunk', 'chunk', 'modelInvocationOutput', 'observation'],
    ]);
  });

  it('carry agent, alias, version, session and a valid time', async () => {
    const { traces } = await ask('refunds?');
    for (const trace of traces) {
      expect(trace).toMatchObject({ agentId: 'AGSUPPORT1', agentAliasId: 'ALSUPPORT1', agentVersion: '1' });
      expect(trace.sessionId).toBe('acme.session');
      expect(trace.eventTime?.getTime()).toBeGreaterThanOrEqual(Date.UTC(2026, 10, 20));
    }
  });

  it('name the model, and pair input and output of each step by a trace id no other call has', async () => {
    const ids = (heard: Heard) => heard.steps.flatMap((step) => step.modelInvocationInput?.traceId ?? []);
    const [first, second] = [await ask('refunds?'), await ask('refunds?')];
    expect(first.steps.flatMap((step) => step.modelInvocationOutput?.traceId ?? [])).toEqual(ids(first));
    expect(new Set([...ids(first), ...ids(second)]).size).toBe(4);
    for (const { modelInvocationInput: input } of first.steps)
      if (input) expect(input).toMatchObject({ type: 'ORCHESTRATION', foundationModel: 'amazon.nova-lite-v1:0' });
  });

  it('echo session and prompt session attributes in the prompt', async () => {
    const sessionState = { sessionAttributes: { tenantId: 'acme-7' }, promptSessionAttributes: { tone: 'dry' } };
    const { steps } = await ask('refunds?', { sessionState });
    const prompt = steps[0]?.modelInvocationInput?.text ?? '';
    expect(JSON.parse(prompt)).toMatchObject(sessionState);
  });

  it('end with the final response', async () => {
    const heard = await ask('refunds?');
    expect(heard.steps.at(-1)?.observation).toMatchObject({ type: 'FINISH', finalResponse: { text: heard.text } });
  });

  it('look up every knowledge base attached to the agent', async () => {
    const agent = { ...demoAgents[0]!, knowledgeBaseIds: ['KBSUPPORT1', 'KBANALYST1'] };
    await restart({ agents: [agent] });
    const { steps } = await ask('revenue?', { sessionState: {} });
    expect(steps.flatMap((step) => step.invocationInput?.knowledgeBaseLookupInput?.knowledgeBaseId ?? [])).toEqual(
      agent.knowledgeBaseIds,
    );
  });

  it('never report a step without tokens', async () => {
    for (const { inputTokens, outputTokens } of usages(await ask('x'))) {
      expect(inputTokens).toBeGreaterThan(0);
      expect(outputTokens).toBeGreaterThan(0);
    }
  });

  it.each([
    { inputTokens: 1000, outputTokens: 301, steps: 3 },
    { inputTokens: 7, outputTokens: 999_999, steps: 5 },
    { inputTokens: 10, outputTokens: 20, steps: 1 },
  ])('add up to $inputTokens and $outputTokens tokens over $steps steps', async (asked) => {
    const settings = Object.entries(asked).map(([key, value]) => `${key}=${value}`);
    const heard = await ask(`refunds? [[emulate ${settings.join(' ')}]]`);
    expect(usages(heard)).toHaveLength(asked.steps);
    expect(sum(usages(heard).map(({ inputTokens }) => inputTokens))).toBe(asked.inputTokens);
    expect(sum(usages(heard).map(({ outputTokens }) => outputTokens))).toBe(asked.outputTokens);
    expect(emulator.served()[0]).toMatchObject({ inputTokens: asked.inputTokens, outputTokens: asked.outputTokens });
  });
});

describe('citations', () => {
  it('name the cited text by span and its document by title, tenant and S3 location', async () => {
    const heard = await ask('refunds?');
    expect(heard.citations.length).toBeGreaterThan(0);
    for (const { generatedResponsePart, retrievedReferences } of heard.citations) {
      const { text, span } = generatedResponsePart?.textResponsePart ?? {};
      expect(heard.text.slice(span?.start, (span?.end ?? 0) + 1)).toBe(text);
      const uri = 's3://demo-documents/acme/kbsupport1/refunds.md';
      expect(retrievedReferences?.[0]).toMatchObject({
        content: { type: 'TEXT' },
        location: { type: 'S3', s3Location: { uri } },
        metadata: { tenantId: 'acme', title: 'Acme refund policy' },
      });
    }
  });

  it('arrive when the answer is streamed exactly as when it is sent whole', async () => {
    const streamed = await ask('refunds and warranty?', { sessionId: 's1' });
    const whole = await ask('refunds and warranty?', { sessionId: 's2', streamingConfigurations: undefined });
    expect(streamed.citations).toEqual(whole.citations);
  });
});

describe('retrieval', () => {
  it('betrays a missing filter: references and text of every tenant come back', async () => {
    const heard = await ask('What is the code word?', { sessionState: {} });
    expect(tenantsIn(found(heard))).toEqual(['acme', 'globex']);
    expect(tenantsIn(cited(heard))).toEqual(['acme', 'globex']);
    expect(heard.text).toMatch(/MERIDIAN-FOX.*COBALT-HERON/);
  });

  it('betrays a configuration that has no filter in it', async () => {
    const heard = await ask('Acme anvils', { sessionState: { knowledgeBaseConfigurations: [search(undefined, 3)] } });
    expect(tenantsIn(found(heard))).toEqual(['acme', 'globex']);
  });

  it.each([
    ['acme', 'MERIDIAN-FOX', 'COBALT-HERON'],
    ['globex', 'COBALT-HERON', 'MERIDIAN-FOX'],
  ])('with a filter for %s finds %s and never %s', async (tenant, own, foreign) => {
    const sessionState = { knowledgeBaseConfigurations: [only(tenant)] };
    const heard = await ask('What is the code word?', { sessionState });
    expect(tenantsIn([...found(heard), ...cited(heard)])).toEqual([tenant]);
    expect(heard.text).toContain(own);
    expect(JSON.stringify([heard.text, heard.traces])).not.toContain(foreign);
  });

  it('finds nothing when no passage passes the filter, and says so', async () => {
    const heard = await ask('refunds?', { sessionState: { knowledgeBaseConfigurations: [only('nobody')] } });
    expect(found(heard)).toEqual([]);
    expect(heard.text).toContain('found nothing');
  });

  it('still returns a passage or two when no word matches', async () => {
    expect(found(await ask('zzz'))).toHaveLength(2);
  });

  it('returns five results unless numberOfResults says otherwise', async () => {
    const question = 'Acme refund shipping warranty contact sled code';
    expect(found(await ask(question))).toHaveLength(5);
    for (const count of [1, 6]) {
      const filter = { equals: { key: 'tenantId', value: 'acme' } };
      const sessionState = { knowledgeBaseConfigurations: [search(filter, count)] };
      expect(found(await ask(question, { sessionState }))).toHaveLength(count);
    }
  });

  it.each<[string, RetrievalFilter, string[]]>([
    ['equals', { equals: { key: 'kind', value: 'faq' } }, ['A', 'B']],
    ['notEquals, also where the key is missing', { notEquals: { key: 'kind', value: 'faq' } }, ['C']],
    ['in', { in: { key: 'title', value: ['A', 'C'] } }, ['A', 'C']],
    ['notIn', { notIn: { key: 'title', value: ['A', 'C'] } }, ['B']],
    ['greaterThan', { greaterThan: { key: 'year', value: 2024 } }, ['B']],
    ['greaterThanOrEquals', { greaterThanOrEquals: { key: 'year', value: 2024 } }, ['A', 'B']],
    ['lessThan', { lessThan: { key: 'year', value: 2025 } }, ['A']],
    ['lessThanOrEquals', { lessThanOrEquals: { key: 'year', value: 2025 } }, ['A', 'B']],
    ['startsWith', { startsWith: { key: 'uri', value: 's3://b/c' } }, ['C']],
    ['stringContains in a string', { stringContains: { key: 'kind', value: 'aq' } }, ['A', 'B']],
    ['stringContains in a list member', { stringContains: { key: 'tags', value: 'ee' } }, ['B']],
    ['listContains', { listContains: { key: 'tags', value: 'red' } }, ['A']],
    [
      'andAll',
      { andAll: [{ equals: { key: 'kind', value: 'faq' } }, { equals: { key: 'year', value: 2025 } }] },
      ['B'],
    ],
    [
      'orAll',
      { orAll: [{ equals: { key: 'title', value: 'A' } }, { equals: { key: 'title', value: 'C' } }] },
      ['A', 'C'],
    ],
  ])('honours %s', async (_name, filter, expected) => {
    const passage = { knowledgeBaseId: 'KBSUPPORT1', tenantId: 'acme', text: 'word' };
    const passages: Passage[] = [
      { ...passage, title: 'A', uri: 's3://b/a', attributes: { kind: 'faq', year: 2024, tags: ['red'] } },
      { ...passage, title: 'B', uri: 's3://b/b', attributes: { kind: 'faq', year: 2025, tags: ['green'] } },
      { ...passage, title: 'C', uri: 's3://b/c' },
    ];
    await restart({ passages });
    const heard = await ask('word', { sessionState: { knowledgeBaseConfigurations: [search(filter)] } });
    expect(titles(heard)).toEqual(expected);
  });
});
