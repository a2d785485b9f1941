import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AnswerPart } from '../../src/conversations/ports.ts';
import {
  chunkFrame,
  eventFrame,
  exceptionFrame,
  startAgentServer,
  traceFrame,
  type AgentServer,
} from '../support/agent-server.ts';
import { bedrockAgentsAt, readAnswer } from '../support/bedrock-agents.ts';

type Json = Readonly<Record<string, unknown>>;

let server: AgentServer;
let agents: ReturnType<typeof bedrockAgentsAt>;
beforeAll(async () => {
  server = await startAgentServer();
  agents = bedrockAgentsAt(server.url);
});
afterAll(async () => {
  agents.close();
  await server.close();
});

async function read(...frames: readonly Uint8Array[]) {
  server.answer(...frames);
  return readAnswer(agents.source);
}

const of = <T extends AnswerPart['type']>(parts: readonly AnswerPart[], type: T) =>
  parts.filter((part): part is Extract<AnswerPart, { type: T }> => part.type === type);

const usage = (inputTokens: number, outputTokens: number) => ({ metadata: { usage: { inputTokens, outputTokens } } });
const reference = (metadata: Json | undefined, text = 'A passage.') => ({
  content: { type: 'TEXT', text },
  location: { type: 'S3', s3Location: { uri: 's3://docs/refunds.md' } },
  ...(metadata && { metadata }),
});
const cited = (...retrievedReferences: readonly Json[]) => ({
  generatedResponsePart: { textResponsePart: { text: 'Hello', span: { start: 0, end: 4 } } },
  retrievedReferences,
});
const ours = { tenantId: 'acme', title: 'Refunds' };

describe('usage', () => {
  it('comes from each of the four kinds of model traces, with the model its input named', async () => {
    const kinds = ['preProcessingTrace', 'orchestrationTrace', 'postProcessingTrace', 'routingClassifierTrace'];
    const frames = kinds.flatMap((kind, n) => [
      traceFrame({
        [kind]: { modelInvocationInput: { traceId: kind, foundationModel: `model-${n}`, text: 'x'.repeat(n) } },
      }),
      traceFrame({ [kind]: { modelInvocationOutput: { traceId: kind, ...usage(10 ** n, 2 * 10 ** n) } } }),
    ]);
    const { parts, error } = await read(...frames, chunkFrame('Hello'));
    expect(error).toBeNull();
    expect(of(parts, 'usage')).toEqual(
      kinds.map((_, n) => ({ type: 'usage', inputTokens: 10 ** n, outputTokens: 2 * 10 ** n, modelId: `model-${n}` })),
    );
    expect(of(parts, 'step')).toEqual(
      kinds.map((_, n) => ({ type: 'step', inputCharacters: n, modelId: `model-${n}` })),
    );
    expect(of(parts, 'trace')).toHaveLength(8);
  });

  it('comes from nowhere else: observations, guardrails and failures repeat what the steps said', async () => {
    const { parts } = await read(
      traceFrame({ guardrailTrace: { action: 'NONE', ...usage(1, 1) } }),
      traceFrame({ failureTrace: { failureReason: 'x', ...usage(2, 2) } }),
      traceFrame({
        orchestrationTrace: { observation: { type: 'FINISH', finalResponse: { text: 'x', ...usage(4, 4) } } },
      }),
      traceFrame({
        orchestrationTrace: {
          observation: {
            type: 'AGENT_COLLABORATOR',
            agentCollaboratorInvocationOutput: { output: { text: 'x' }, ...usage(8, 8) },
          },
        },
      }),
      traceFrame({
        orchestrationTrace: {
          observation: {
            type: 'KNOWLEDGE_BASE',
            knowledgeBaseLookupOutput: { retrievedReferences: [], ...usage(16, 16) },
          },
        },
      }),
      traceFrame({ customOrchestrationTrace: { event: { text: 'x' } } }),
      chunkFrame('Hello'),
    );
    expect(of(parts, 'usage')).toEqual([]);
    expect(of(parts, 'trace')).toHaveLength(6);
  });

  it('of several steps and of collaborators is reported step by step', async () => {
    const output = (traceId: string, input: number) => ({
      orchestrationTrace: { modelInvocationOutput: { traceId, ...usage(input, 1) } },
    });
    const { parts } = await read(
      traceFrame(output('t-0', 100)),
      traceFrame(output('t-1', 200), { collaboratorName: 'helper' }),
      traceFrame(output('t-0', 300)),
      chunkFrame('Hello'),
    );
    expect(of(parts, 'usage').map(({ inputTokens }) => inputTokens)).toEqual([100, 200, 300]);
  });

  it('half reported, or reported as nothing, is no failure', async () => {
    const { parts, error } = await read(
      traceFrame({
        orchestrationTrace: { modelInvocationOutput: { traceId: 't', metadata: { usage: { inputTokens: 5 } } } },
      }),
      traceFrame({ orchestrationTrace: { modelInvocationOutput: { traceId: 't', metadata: {} } } }),
      traceFrame({ orchestrationTrace: { modelInvocationOutput: { traceId: 't' } } }),
      traceFrame({}),
      eventFrame('trace', {}),
      chunkFrame('Hello'),
    );
    expect(error).toBeNull();
    expect(of(parts, 'usage')).toEqual([{ type: 'usage', inputTokens: 5, outputTokens: 0, modelId: null }]);
  });
});

describe('what is not known yet', () => {
  it('unknown events and unknown members of a trace are skipped', async () => {
    const { text, error } = await read(
      eventFrame('somethingNew', { a: 1 }),
      traceFrame({ thoughtTrace: { text: 'SECRET' } }),
      chunkFrame('Hello'),
      eventFrame('anotherThing', {}),
      traceFrame({ orchestrationTrace: { dreams: { text: 'SECRET' } } }),
      eventFrame('files', { files: [{ name: 'a.txt', type: 'text/plain', bytes: 'AAAA' }] }),
      chunkFrame(' world'),
    );
    expect([text, error]).toEqual(['Hello world', null]);
  });
});

describe('text', () => {
  const TEXT = 'aé世🚀\u200d👩‍👧 ﬁn';

  it('cut at any byte is whole', async () => {
    const bytes = Buffer.from(TEXT);
    for (let at = 0; at <= bytes.length; at++) {
      const { text, error } = await read(chunkFrame(bytes.subarray(0, at)), chunkFrame(bytes.subarray(at)));
      expect([text, error], `cut at ${at}`).toEqual([TEXT, null]);
    }
  });

  it('in single bytes is whole, and never shows half a character', async () => {
    const { parts, text } = await read(...Array.from(Buffer.from(TEXT), (byte) => chunkFrame(Uint8Array.of(byte))));
    expect(text).toBe(TEXT);
    for (const part of of(parts, 'text')) expect(part.text).not.toContain('\ufffd');
  });

  it('that ends inside a character says so, and ends', async () => {
    const { text, error } = await read(chunkFrame('Hello '), chunkFrame(Buffer.from('世').subarray(0, 2)));
    expect([text, error]).toEqual(['Hello \ufffd', null]);
  });

  it('of an empty chunk, or a chunk without bytes, is nothing', async () => {
    const { text, error } = await read(chunkFrame(''), eventFrame('chunk', {}), chunkFrame('x'));
    expect([text, error]).toEqual(['x', null]);
  });
});

describe('citations', () => {
  it('carry text, source and title, come after their text, and once', async () => {
    const { parts, error } = await read(
      chunkFrame('Hello', [cited(reference(ours)), cited(reference(ours))]),
      chunkFrame(' again', [cited(reference(ours), reference({ tenantId: 'acme' }, 'Other.'))]),
    );
    expect(error).toBeNull();
    expect(of(parts, 'citation').map(({ citation }) => citation)).toEqual([
      { text: 'A passage.', source: 's3://docs/refunds.md', title: 'Refunds' },
      { text: 'Other.', source: 's3://docs/refunds.md', title: null },
    ]);
    expect(parts.findIndex(({ type }) => type === 'citation')).toBeGreaterThan(
      parts.findIndex(({ type }) => type === 'text'),
    );
  });

  it.each([
    [{ webLocation: { url: 'https://a.example' } }, 'https://a.example'],
    [{ confluenceLocation: { url: 'https://c.example' } }, 'https://c.example'],
    [{ salesforceLocation: { url: 'https://s.example' } }, 'https://s.example'],
    [{ sharePointLocation: { url: 'https://p.example' } }, 'https://p.example'],
    [{ kendraDocumentLocation: { uri: 'kendra-1' } }, 'kendra-1'],
    [{ customDocumentLocation: { id: 'doc-1' } }, 'doc-1'],
    [{ sqlLocation: { query: 'SELECT' } }, null],
    [{}, null],
  ])('a source at %j is %s', async (location, source) => {
    const { parts } = await read(
      chunkFrame('x', [cited({ ...reference(ours), location: { type: 'WEB', ...location } })]),
    );
    expect(of(parts, 'citation')[0]?.citation.source).toBe(source);
  });
});

describe('isolation', () => {
  const lookup = (...references: readonly Json[]) => ({
    observation: {
      type: 'KNOWLEDGE_BASE',
      traceId: 't',
      knowledgeBaseLookupOutput: { retrievedReferences: references },
    },
  });
  const violation = { code: 'ISOLATION_VIOLATION', details: { retryable: false } };

  it.each<[string, Json | undefined]>([
    ['another tenant', { tenantId: 'globex' }],
    ['no metadata', undefined],
    ['no tenant in its metadata', { title: 'x' }],
    ['an empty tenant', { tenantId: '' }],
    ['a tenant in other letters', { tenantId: 'ACME' }],
    ['a list of tenants with ours', { tenantId: ['acme', 'globex'] }],
    ['null', { tenantId: null }],
  ])('a passage of %s ends the answer before later text: in a trace, and in a citation', async (_name, metadata) => {
    const inTrace = await read(
      chunkFrame('Before.'),
      traceFrame({ orchestrationTrace: lookup(reference(ours), reference(metadata)) }),
      chunkFrame('After.'),
    );
    expect(inTrace.error).toMatchObject(violation);
    expect(inTrace.text).toBe('Before.');

    const inCitation = await read(
      chunkFrame('Before.'),
      chunkFrame('Within.', [cited(reference(ours)), cited(reference(metadata))]),
      chunkFrame('After.'),
    );
    expect(inCitation.error).toMatchObject(violation);
    expect(inCitation.text).toBe('Before.');
    for (const { parts } of [inTrace, inCitation]) expect(of(parts, 'citation')).toEqual([]);
  });

  it('a knowledge base that is not the tenant’s ends it, before it is searched', async () => {
    const { error, text } = await read(
      chunkFrame('Before.'),
      traceFrame({
        orchestrationTrace: {
          invocationInput: {
            invocationType: 'KNOWLEDGE_BASE',
            knowledgeBaseLookupInput: { knowledgeBaseId: 'KBFOREIGN', text: 'x' },
          },
        },
      }),
      chunkFrame('After.'),
    );
    expect(error).toMatchObject(violation);
    expect(text).toBe('Before.');
  });

  it('it is held to in every kind of trace that can hold passages', async () => {
    const foreign = lookup(reference({ tenantId: 'globex' }));
    const input = {
      invocationInput: { invocationType: 'KNOWLEDGE_BASE', knowledgeBaseLookupInput: { knowledgeBaseId: 'KBFOREIGN' } },
    };
    for (const member of ['orchestrationTrace', 'routingClassifierTrace'])
      for (const trace of [foreign, input]) {
        const { error, text } = await read(traceFrame({ [member]: trace }), chunkFrame('After.'));
        expect(error, `${member} ${Object.keys(trace)[0]}`).toMatchObject(violation);
        expect(text).toBe('');
      }
  });

  it('our own knowledge bases and passages pass', async () => {
    const { error, text } = await read(
      traceFrame({
        orchestrationTrace: {
          invocationInput: {
            invocationType: 'KNOWLEDGE_BASE',
            knowledgeBaseLookupInput: { knowledgeBaseId: 'KBTWO', text: 'x' },
          },
        },
      }),
      traceFrame({ orchestrationTrace: lookup(reference(ours)) }),
      chunkFrame('Hello', [cited(reference(ours)), { generatedResponsePart: {} }, cited()]),
    );
    expect([error, text]).toEqual([null, 'Hello']);
  });

  it('the error names no tenant, no passage and no knowledge base', async () => {
    const { error } = await read(
      traceFrame({ orchestrationTrace: lookup(reference({ tenantId: 'globex' }, 'THEIRS')) }),
    );
    expect(`${error?.message} ${JSON.stringify(error?.details)}`).not.toMatch(/globex|THEIRS|KB/);
  });
});

describe('calls beside the model', () => {
  const called = { type: 'activity', name: null, results: 0, failed: false };
  const at = (second: number) => ({ eventTime: `2026-11-20T12:00:0${second}.000Z` });
  const begin = (invocationType: string, traceId: string) => ({
    orchestrationTrace: { invocationInput: { invocationType, traceId } },
  });
  const end = (type: string, traceId: string) => ({ orchestrationTrace: { observation: { type, traceId } } });

  it('are timed by the agent’s own clock, each by its trace', async () => {
    const { parts } = await read(
      traceFrame(begin('KNOWLEDGE_BASE', 'a'), at(0)),
      traceFrame(begin('ACTION_GROUP', 'b'), at(1)),
      traceFrame(end('KNOWLEDGE_BASE', 'a'), at(3)),
      traceFrame(end('ACTION_GROUP', 'b'), at(6)),
      traceFrame(end('FINISH', 'c'), at(7)),
      chunkFrame('x'),
    );
    expect(of(parts, 'activity')).toEqual([
      { ...called, service: 'KNOWLEDGE_BASE', latencyMs: 3_000 },
      { ...called, service: 'ACTION_GROUP', latencyMs: 5_000 },
    ]);
  });

  it('to tools are told as they begin, because from then on nothing may be repeated; searches are not', async () => {
    const { parts } = await read(
      traceFrame(begin('KNOWLEDGE_BASE', 'a'), at(0)),
      traceFrame(begin('ACTION_GROUP', 'b'), at(1)),
      traceFrame(begin('ACTION_GROUP_CODE_INTERPRETER', 'c'), at(2)),
      chunkFrame('x'),
    );
    expect(parts.map(({ type }) => type).slice(0, 8)).toEqual([
      ...['attempt', 'request', 'trace', 'trace', 'action', 'trace', 'action', 'text'],
    ]);
  });

  it('that never came back have failed, when the stream ends and when it breaks', async () => {
    const ended = await read(traceFrame(begin('ACTION_GROUP', 'a'), at(0)), chunkFrame('x'));
    expect(of(ended.parts, 'activity')).toMatchObject([{ service: 'ACTION_GROUP', failed: true }]);
    const broken = await read(
      traceFrame(begin('ACTION_GROUP', 'a'), at(0)),
      exceptionFrame('dependencyFailedException'),
    );
    expect(broken.error).toMatchObject({ code: 'AGENT_UNAVAILABLE' });
    expect(of(broken.parts, 'activity')).toMatchObject([{ service: 'ACTION_GROUP', failed: true }]);
  });
});

it('nothing that stands in a trace leaves the adapter but what names its step', async () => {
  const SECRET = 'SECRET-OF-THE-TRACE';
  const traceId = 'step-1';
  const trace = (value: Json) => traceFrame({ orchestrationTrace: value });
  const { parts, error } = await read(
    trace({
      modelInvocationInput: { traceId, text: SECRET, type: 'ORCHESTRATION', promptCreationMode: SECRET },
    }),
    trace({ rationale: { traceId, text: SECRET } }),
    trace({
      modelInvocationOutput: {
        traceId,
        rawResponse: { content: SECRET },
        reasoningContent: { reasoningText: { text: SECRET } },
        ...usage(1, 1),
      },
    }),
    trace({
      invocationInput: {
        invocationType: 'ACTION_GROUP',
        traceId,
        actionGroupInvocationInput: { function: SECRET },
      },
    }),
    trace({ observation: { type: 'ACTION_GROUP', traceId, actionGroupInvocationOutput: { text: SECRET } } }),
    trace({
      observation: {
        type: 'KNOWLEDGE_BASE',
        traceId,
        knowledgeBaseLookupOutput: { retrievedReferences: [reference(ours, SECRET)] },
      },
    }),
    traceFrame({ guardrailTrace: { action: 'INTERVENED', traceId } }, { collaboratorName: SECRET }),
    traceFrame({ failureTrace: { failureReason: SECRET } }),
    chunkFrame('Hello'),
  );
  expect(error).toBeNull();
  expect(JSON.stringify(parts)).not.toContain(SECRET);
});
