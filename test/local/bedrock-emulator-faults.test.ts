import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import type { TextDecoder as Decoder } from 'node:util';
import type {
  InvokeAgentCommandInput,
  OrchestrationTrace,
  PayloadPart,
  RetrievedReference,
  ReturnControlPayload,
} from '@aws-sdk/client-bedrock-agent-runtime';
import { BedrockAgentRuntimeClient, InvokeAgentCommand } from '@aws-sdk/client-bedrock-agent-runtime';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { BedrockEmulator } from '../../src/local/bedrock/emulator.ts';
import { startBedrockEmulator } from '../../src/local/bedrock/emulator.ts';
import { demoAgents, demoPassages } from '../../src/local/demo-corpus.ts';

let emulator: BedrockEmulator;
let client: BedrockAgentRuntimeClient;

beforeEach(async () => {
  emulator = await startBedrockEmulator({ agents: demoAgents, passages: demoPassages, chunksPerSecond: Infinity });
  client = new BedrockAgentRuntimeClient({
    region: 'us-east-1',
    endpoint: emulator.url,
    maxAttempts: 1,
    credentials: { accessKeyId: 'emulated', secretAccessKey: 'emulated' },
    requestHandler: new NodeHttpHandler(),
  });
});

afterEach(async () => {
  client.destroy();
  await emulator.close();
});

const filter = { equals: { key: 'tenantId', value: 'acme' } };
const configuration = {
  knowledgeBaseId: 'KBSUPPORT1',
  retrievalConfiguration: { vectorSearchConfiguration: { filter } },
};
const sessionState = { knowledgeBaseConfigurations: [configuration] };

interface Heard {
  /** Set when `send` itself rejected: the failure came before the stream. */
  status: number | undefined;
  error: { name: string; message: string; code?: string; resourceName?: string; reason?: string } | undefined;
  text: string;
  chunks: number;
  usages: { inputTokens?: number | undefined; outputTokens?: number | undefined }[];
  tenants: { cited: string[]; found: string[] };
  /** Tenants and text in the order they were heard. */
  order: string[];
  returnControl: ReturnControlPayload | undefined;
}

type Options = Partial<InvokeAgentCommandInput> & { signal?: AbortSignal; onChunk?: (count: number) => void };

const tenantOf = ({ metadata }: RetrievedReference) => metadata?.['tenantId'] as string;

const noteTrace = (heard: Heard, step: OrchestrationTrace | undefined) => {
  const usage = step?.modelInvocationOutput?.metadata?.usage;
  if (usage) heard.usages.push(usage);
  const tenants = (step?.observation?.knowledgeBaseLookupOutput?.retrievedReferences ?? []).map(tenantOf);
  heard.tenants.found.push(...tenants);
  heard.order.push(...tenants.map((tenant) => `found ${tenant}`));
};

const noteChunk = (heard: Heard, { bytes, attribution }: PayloadPart, decoder: Decoder) => {
  const references = (attribution?.citations ?? []).flatMap(({ retrievedReferences }) => retrievedReferences ?? []);
  heard.tenants.cited.push(...references.map(tenantOf));
  heard.order.push('chunk');
  heard.text += decoder.decode(bytes, { stream: true });
  heard.chunks += 1;
};

const ask = async (inputText: string | undefined, { signal, onChunk, ...input }: Options = {}): Promise<Heard> => {
  const decoder = new TextDecoder();
  const heard: Heard = {
    status: undefined,
    error: undefined,
    text: '',
    chunks: 0,
    usages: [],
    tenants: { cited: [], found: [] },
    order: [],
    returnControl: undefined,
  };
  try {
    const command = new InvokeAgentCommand({
      agentId: 'AGSUPPORT1',
      agentAliasId: 'ALSUPPORT1',
      sessionId: 'acme.session',
      inputText,
      enableTrace: true,
      streamingConfigurations: { streamFinalResponse: true },
      sessionState,
      ...input,
    });
    const { completion } = await client.send(command, signal ? { abortSignal: signal } : {});
    for await (const { chunk, trace, returnControl } of completion ?? []) {
      heard.returnControl ??= returnControl;
      noteTrace(heard, trace?.trace?.orchestrationTrace);
      if (chunk) noteChunk(heard, chunk, decoder);
      if (chunk) onChunk?.(heard.chunks);
    }
  } catch (error) {
    const thrown = error as Error & { $metadata?: { httpStatusCode?: number } };
    heard.error = thrown;
    heard.status = thrown.$metadata?.httpStatusCode;
  }
  return heard;
};

const STATUS = {
  AccessDeniedException: 403,
  BadGatewayException: 502,
  ConflictException: 409,
  DependencyFailedException: 424,
  InternalServerException: 500,
  ModelNotReadyException: 424,
  ResourceNotFoundException: 404,
  ServiceQuotaExceededException: 400,
  ThrottlingException: 429,
  ValidationException: 400,
};

describe.each(Object.entries(STATUS))('error=%s', (name, status) => {
  it(`before the stream is HTTP ${status}, without a chunk or a token`, async () => {
    const heard = await ask(`refunds? [[emulate error=${name}]]`);
    expect(heard).toMatchObject({ error: { name, message: `emulated ${name}` }, status, chunks: 0, usages: [] });
    expect(emulator.served()).toMatchObject([
      { outcome: 'failed', error: name, chunksSent: 0, inputTokens: 0, outputTokens: 0, clientHungUp: false },
    ]);
  });

  it('within the stream comes after exactly the chunks asked for', async () => {
    const heard = await ask(`refunds? [[emulate error=${name} after=3]]`);
    expect(heard).toMatchObject({ error: { name, message: `emulated ${name}` }, status: undefined, chunks: 3 });
    expect(emulator.served()).toMatchObject([{ outcome: 'failed', error: name, chunksSent: 3 }]);
  });
});

describe('an error', () => {
  it('carries the members the service documents', async () => {
    expect((await ask('q [[emulate error=BadGatewayException]]')).error?.resourceName).toBeTruthy();
    expect((await ask('q [[emulate error=DependencyFailedException after=1]]')).error?.resourceName).toBeTruthy();
    expect((await ask('q [[emulate error=InternalServerException]]')).error?.reason).toBeTruthy();
  });

  it('comes even when the answer has fewer chunks than `after`, and before the last usage', async () => {
    const heard = await ask('refunds? [[emulate error=ThrottlingException after=50 chunks=2]]');
    expect(heard).toMatchObject({ error: { name: 'ThrottlingException' }, chunks: 2 });
    expect(heard.usages).toHaveLength(1);
  });

  it('with times=2 fails two attempts of this session and question, then answers', async () => {
    const question = 'refunds? [[emulate error=ThrottlingException times=2]]';
    const outcomes = [await ask(question), await ask(question), await ask(question)];
    expect(outcomes.map(({ error }) => error?.name)).toEqual(['ThrottlingException', 'ThrottlingException', undefined]);
    expect(outcomes[2]?.text).toContain('Acme refunds');
    expect(emulator.served().map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
    expect((await ask(question, { sessionId: 'another' })).error?.name).toBe('ThrottlingException');
    expect((await ask(`again, ${question}`)).error?.name).toBe('ThrottlingException');
  });

  it('with times=1 on one alias lets the fallback alias answer', async () => {
    const question = 'refunds? [[emulate error=ModelNotReadyException times=1]]';
    expect((await ask(question)).error?.name).toBe('ModelNotReadyException');
    expect((await ask(question, { agentAliasId: 'ALSUPPORT2' })).error).toBeUndefined();
  });

  it.each(['1', 'ALSUPPORT1'])('with alias=%s strikes that alias only, and `times` counts its calls', async (alias) => {
    const question = `refunds? [[emulate error=ThrottlingException alias=${alias} times=1]]`;
    expect((await ask(question, { agentAliasId: 'ALSUPPORT2' })).error).toBeUndefined();
    expect((await ask(question)).error?.name).toBe('ThrottlingException');
    expect((await ask(question)).error).toBeUndefined();
  });

  it('leaves no earlier turn behind', async () => {
    await ask('refunds? [[emulate error=ThrottlingException after=2]]');
    await ask('refunds? [[emulate cut=true]]');
    expect((await ask('warranty?')).text).not.toContain('question');
  });
});

describe('cut=true', () => {
  it.each([
    ['', 2],
    ['after=5', 5],
    ['after=0', 0],
  ])('breaks the connection %s after %i chunks, before the last step reports its usage', async (after, chunks) => {
    const heard = await ask(`refunds? [[emulate cut=true ${after} inputTokens=100 outputTokens=50]]`);
    expect(heard.error?.code).toBe('ECONNRESET');
    expect(heard.chunks).toBe(chunks);
    expect(heard.usages).toEqual([{ inputTokens: 50, outputTokens: 25 }]);
    expect(emulator.served()).toMatchObject([
      { outcome: 'failed', chunksSent: chunks, inputTokens: 50, outputTokens: 25, clientHungUp: false },
    ]);
  });
});

describe('stall=true', () => {
  it('falls silent until the client hangs up', async () => {
    const hangUp = new AbortController();
    const heard = ask('refunds? [[emulate stall=true after=3]]', { signal: hangUp.signal });
    await vi.waitFor(() => expect(emulator.served()[0]?.chunksSent).toBe(3));
    expect(emulator.served()[0]?.outcome).toBe('running');
    hangUp.abort();
    expect(await heard).toMatchObject({ chunks: 3, error: { code: 'ECONNRESET' } });
    await vi.waitFor(() => expect(emulator.served()[0]).toMatchObject({ outcome: 'aborted', clientHungUp: true }));
    expect(emulator.served()[0]?.chunksSent).toBe(3);
  });

  it('ends with close(), which is not the client hanging up', async () => {
    const heard = ask('refunds? [[emulate stall=true]]');
    await vi.waitFor(() => expect(emulator.served()[0]?.chunksSent).toBe(2));
    await emulator.close();
    expect((await heard).error).toBeDefined();
    await vi.waitFor(() => expect(emulator.served()[0]).toMatchObject({ outcome: 'aborted', clientHungUp: false }));
  });
});

describe('a client that hangs up', () => {
  it('stops the work at once, even within a pause, and leaves no earlier turn', async () => {
    const hangUp = new AbortController();
    const onChunk = (count: number) => count === 1 && hangUp.abort();
    await ask('refunds? [[emulate delayMs=600000]]', { signal: hangUp.signal, onChunk });
    await vi.waitFor(() =>
      expect(emulator.served()).toMatchObject([{ outcome: 'aborted', chunksSent: 1, clientHungUp: true }]),
    );
    expect(emulator.served()[0]?.inputTokens).toBeGreaterThan(0);
    expect((await ask('warranty?')).text).not.toContain('question');
  });
});

describe('empty=true', () => {
  it('is a successful response without a single event', async () => {
    const heard = await ask('refunds? [[emulate empty=true]]');
    expect(heard).toMatchObject({ error: undefined, chunks: 0, usages: [], text: '' });
    expect(emulator.served()).toMatchObject([{ outcome: 'failed', error: null, inputTokens: 0 }]);
  });
});

describe('tool=NAME', () => {
  const resume = (call: Heard, body: string, change: object = {}, options: Options = {}) =>
    ask(undefined, {
      sessionState: {
        ...sessionState,
        invocationId: call.returnControl?.invocationId,
        returnControlInvocationResults: [
          {
            functionResult: {
              actionGroup: call.returnControl?.invocationInputs?.[0]?.functionInvocationInput?.actionGroup,
              function: 'getOrder',
              responseBody: { TEXT: { body } },
              ...change,
            },
          },
        ],
      },
      ...options,
    });

  it('asks the client to run the tool instead of answering', async () => {
    const call = await ask('Where is my order? [[emulate tool=getOrder inputTokens=70 outputTokens=9]]');
    expect(call).toMatchObject({ chunks: 0, usages: [{ inputTokens: 70, outputTokens: 9 }] });
    expect(call.returnControl?.invocationId).toBeTruthy();
    expect(call.returnControl?.invocationInputs?.[0]?.functionInvocationInput).toMatchObject({
      function: 'getOrder',
      actionInvocationType: 'RESULT',
      parameters: [{ name: 'question', type: 'string', value: 'Where is my order?' }],
    });
  });

  it('answers from the result, honours the filter of the resuming call, and counts one question', async () => {
    const call = await ask('Where is my refund? [[emulate tool=getOrder]]');
    const answer = await resume(call, '{"status":"shipped"}');
    expect(answer.error).toBeUndefined();
    expect(answer.text).toContain('{"status":"shipped"}');
    expect(answer.text).toContain('Acme refund policy');
    expect(new Set(answer.tenants.found)).toEqual(new Set(['acme']));
    expect((await ask('warranty?')).text).toContain('question 2 of our conversation');
  });

  it('keeps the chunk count of the question for the answer', async () => {
    const call = await ask('order? [[emulate tool=getOrder chunks=4]]');
    expect((await resume(call, 'shipped')).chunks).toBe(4);
  });

  it('takes a result once, and only for the call and tool that wait', async () => {
    expect((await resume(await ask('hi'), 'x')).error?.name).toBe('ValidationException');
    const call = await ask('order? [[emulate tool=getOrder]]');
    expect((await resume(call, 'x', { function: 'other' })).error?.message).toContain('getOrder was called');
    expect((await resume(call, 'x', {}, { sessionId: 'another' })).error?.message).toContain('is waiting');
    expect((await resume(call, 'x')).error).toBeUndefined();
    expect((await resume(call, 'x')).error?.message).toContain('is waiting');
  });

  it('no longer takes the result of a call that another one replaced', async () => {
    const replaced = await ask('order? [[emulate tool=getOrder]]');
    const waiting = await ask('order? [[emulate tool=getOrder]]');
    expect((await resume(replaced, 'x')).error?.message).toContain('is waiting');
    expect((await resume(waiting, 'x')).error).toBeUndefined();
  });

  it('fails the turn when the client reports that the tool failed', async () => {
    const call = await ask('order? [[emulate tool=getOrder]]');
    const heard = await resume(call, 'x', { responseState: 'FAILURE' });
    expect(heard).toMatchObject({ error: { name: 'DependencyFailedException' }, status: 424 });
  });

  it('tells the agent when the user declined', async () => {
    const call = await ask('order? [[emulate tool=getOrder]]');
    expect((await resume(call, '', { confirmationState: 'DENY' })).text).toContain('declined');
  });
});

describe('foreign=TENANT', () => {
  it('slips in a reference of another tenant, in a trace and in a citation', async () => {
    const heard = await ask('refunds? [[emulate foreign=globex]]');
    expect(heard.error).toBeUndefined();
    expect(heard.tenants.found).toContain('globex');
    expect(heard.tenants.cited).toContain('globex');
  });

  it('does so after the chunks asked for', async () => {
    const { order } = await ask('refunds? [[emulate foreign=globex after=3]]');
    expect(order.indexOf('found globex')).toBe(order.indexOf('chunk') + 3);
  });

  it('cites it even when nothing is traced', async () => {
    const heard = await ask('refunds? [[emulate foreign=globex]]', { enableTrace: false });
    expect(heard.tenants).toMatchObject({ found: [], cited: expect.arrayContaining(['globex']) as unknown });
  });
});

describe('[[emulate …]]', () => {
  it('is taken out of the question wherever it stands', async () => {
    await ask('How do [[emulate chunks=2]] refunds [[emulate delayMs=0]] work?');
    expect(emulator.served()).toMatchObject([{ question: 'How do refunds work?', chunksSent: 2 }]);
  });

  it.each([
    ['speed=3', 'speed'],
    ['chunks=0', 'chunks'],
    ['chunks=two', 'chunks'],
    ['delayMs=-1', 'delayMs'],
    ['steps=51', 'steps'],
    ['times=0', 'times'],
    ['alias=a-b', 'alias'],
    ['after=', 'after'],
    ['inputTokens=1.5', 'inputTokens'],
    ['error=TeapotException', 'error'],
    ['error=constructor', 'error'],
    ['cut=yes', 'cut'],
    ['tool=a.b', 'tool'],
    ['foreign=', 'foreign'],
    ['chunks=2 chunks=3', 'chunks'],
    ['cut=true stall=true', 'only one'],
  ])('with %s is a ValidationException that names %s', async (settings, named) => {
    const heard = await ask(`refunds? [[emulate ${settings}]]`);
    expect(heard).toMatchObject({ error: { name: 'ValidationException' }, status: 400 });
    expect(heard.error?.message).toContain(named);
  });

  it('that is not closed is a ValidationException', async () => {
    expect((await ask('refunds? [[emulate cut=true')).error?.name).toBe('ValidationException');
  });
});

describe('ResourceNotFoundException', () => {
  it.each([{ agentId: 'AGUNKNOWN1' }, { agentAliasId: 'ALUNKNOWN1' }, { agentAliasId: 'ALANALYST1' }])(
    'meets %j',
    async (input) => {
      const heard = await ask('refunds?', input);
      expect(heard).toMatchObject({ error: { name: 'ResourceNotFoundException' }, status: 404 });
      expect(emulator.served()).toEqual([]);
    },
  );
});

describe('ValidationException', () => {
  const search = (vectorSearchConfiguration: object) => ({
    sessionState: {
      knowledgeBaseConfigurations: [
        { knowledgeBaseId: 'KBSUPPORT1', retrievalConfiguration: { vectorSearchConfiguration } },
      ],
    },
  });
  const leaf = { equals: { key: 'tenantId', value: 'acme' } };
  const deep = Array.from({ length: 30 }).reduce<object>((inner) => ({ andAll: [inner, leaf] }), leaf);

  it.each<[string, object]>([
    ['an empty agent id', { agentId: '' }],
    ['an agent id above 10 characters', { agentId: 'AGSUPPORT12' }],
    ['an alias id with a dash', { agentAliasId: 'AL-SUPPORT' }],
    ['a session id of one character', { sessionId: '.' }],
    ['a session id above 100 characters', { sessionId: 's'.repeat(101) }],
    ['a session id with a #', { sessionId: 'acme#session' }],
    ['a session id with a slash', { sessionId: 'acme/session' }],
    ['no text', { inputText: undefined }],
    ['an empty text', { inputText: '' }],
    ['session attributes that are not strings', { sessionState: { sessionAttributes: { tenantId: 7 } } }],
    ['a filter node with two keys', search({ filter: { ...leaf, notEquals: { key: 'a', value: 'b' } } })],
    ['a filter node without a key', search({ filter: {} })],
    ['an unknown operator', search({ filter: { matches: { key: 'tenantId', value: 'acme' } } })],
    ['andAll of one', search({ filter: { andAll: [leaf] } })],
    ['orAll of none', search({ filter: { orAll: [] } })],
    ['a bad member of andAll', search({ filter: { andAll: [leaf, {}] } })],
    ['filters nested without end', search({ filter: deep })],
    ['an empty key', search({ filter: { equals: { key: '', value: 'acme' } } })],
    ['a missing value', search({ filter: { equals: { key: 'tenantId' } } })],
    ['in without a list', search({ filter: { in: { key: 'tenantId', value: 'acme' } } })],
    ['greaterThan without a number', search({ filter: { greaterThan: { key: 'year', value: '2024' } } })],
    ['no results wanted', search({ numberOfResults: 0 })],
    ['too many results wanted', search({ numberOfResults: 101 })],
    ['an empty list of configurations', { sessionState: { knowledgeBaseConfigurations: [] } }],
    [
      'two configurations of one base',
      { sessionState: { knowledgeBaseConfigurations: [configuration, configuration] } },
    ],
    [
      'a base the agent does not have',
      { sessionState: { knowledgeBaseConfigurations: [{ ...configuration, knowledgeBaseId: 'KBANALYST1' }] } },
    ],
    ['results for no call', { sessionState: { invocationId: 'i', returnControlInvocationResults: [] } }],
    [
      'an unknown role in the history',
      { sessionState: { conversationHistory: { messages: [{ role: 'system', content: [{ text: 'x' }] }] } } },
    ],
  ])('meets %s', async (_name, input) => {
    const heard = await ask('refunds?', input);
    expect(heard).toMatchObject({ error: { name: 'ValidationException' }, status: 400 });
    expect(emulator.served()).toEqual([]);
  });

  it('does not meet session ids with every allowed character, nor dots', async () => {
    expect((await ask('refunds?', { sessionId: 'acme.u_1:x-9' })).error).toBeUndefined();
    expect((await ask('refunds?', { sessionId: '..' })).error).toBeUndefined();
  });
});

describe('requests that are not InvokeAgent calls', () => {
  const post = (path: string, body: string) => fetch(`${emulator.url}${path}`, { method: 'POST', body });
  const path = '/agents/AGSUPPORT1/agentAliases/ALSUPPORT1/sessions/ss/text';

  it('meet 404 on any other path or method', async () => {
    expect((await post('/elsewhere', '{}')).status).toBe(404);
    expect((await fetch(`${emulator.url}${path}`)).status).toBe(404);
  });

  it.each(['', '{', '[]', 'null', '"text"'])('meet ValidationException for the body %j', async (body) => {
    const response = await post(path, body);
    expect(response.status).toBe(400);
    expect(response.headers.get('x-amzn-errortype')).toBe('ValidationException');
    expect(emulator.served()).toEqual([]);
  });

  it('meet 413 for a body above 30 MB', async () => {
    expect((await post(path, 'x'.repeat(31 * 1024 * 1024))).status).toBe(413);
  });

  it('may break off within the body and leave the emulator serving', async () => {
    const request = httpRequest(`${emulator.url}${path}`, { method: 'POST', headers: { 'content-length': '100' } });
    request.on('error', () => undefined);
    request.write('{"inputText":');
    await once(request, 'socket');
    request.destroy();
    expect((await ask('refunds?')).text).toContain('Acme refunds');
  });
});
