import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { newConversationId } from '../../src/conversations/model.ts';
import { startBedrockEmulator, type BedrockEmulator } from '../../src/local/bedrock/emulator.ts';
import { demoAgents, demoPassages } from '../../src/local/demo-corpus.ts';
import { demoAgentDefinitions } from '../../src/local/demo-data.ts';
import { newUserId } from '../../src/tenancy/principal.ts';
import { parseTenantId } from '../../src/tenancy/tenant-id.ts';
import { chunkFrame, startAgentServer, type AgentServer } from '../support/agent-server.ts';
import { AGENT, aQuestion, bedrockAgentsAt, readAnswer } from '../support/bedrock-agents.ts';

const SESSION_ID = /^[0-9a-zA-Z._:-]{2,100}$/;

describe('the request of InvokeAgent', () => {
  let server: AgentServer;
  beforeAll(async () => {
    server = await startAgentServer();
    server.answer(chunkFrame('Hello'));
  });
  afterAll(() => server.close());

  async function callFor(question = aQuestion(), agent = AGENT) {
    const { source, close } = bedrockAgentsAt(server.url, { agents: [agent] });
    const read = await readAnswer(source, question);
    close();
    expect(read.error).toBeNull();
    return server.calls.at(-1)!;
  }

  it('names agent, alias, question, traces and streaming', async () => {
    const question = aQuestion({ text: 'Grüße "quoted" 世界\n🚀' });
    const { path, body, method } = await callFor(question);
    expect(method).toBe('POST');
    expect(path).toMatch(/^\/agents\/AGENT12345\/agentAliases\/ALIAS12345\/sessions\/[^/]+\/text$/);
    expect(body).toMatchObject({
      inputText: question.text,
      enableTrace: true,
      streamingConfigurations: { streamFinalResponse: true },
    });
    expect(body.endSession ?? false).toBe(false);
  });

  it('carries the tenant, the user and the conversation as session attributes, where the model cannot change them', async () => {
    const { tenantId, userId, conversationId, ...question } = aQuestion();
    const { body } = await callFor({ tenantId, userId, conversationId, ...question });
    expect(body.sessionState.sessionAttributes).toMatchObject({ tenantId, userId, conversationId });
  });

  it('has a session id within the rules, also for the longest tenant, of one tenant and one conversation', async () => {
    const conversationId = newConversationId(0);
    const tenants = ['acme', 'globex', 'a'.repeat(40), `a${'-'.repeat(38)}b`, 'a-b'].map((slug) =>
      parseTenantId(slug)!,
    );
    const sessions: string[] = [];
    for (const tenantId of tenants) {
      for (const id of [conversationId, newConversationId(1)]) {
        const { path } = await callFor(aQuestion({ tenantId, conversationId: id }));
        const sessionId = decodeURIComponent(path.split('/')[6]!);
        expect(sessionId).toMatch(SESSION_ID);
        expect(['.', '..']).not.toContain(sessionId);
        sessions.push(sessionId);
      }
    }
    expect(new Set(sessions).size).toBe(sessions.length);
    const again = await callFor(aQuestion({ tenantId: tenants[0]!, conversationId }));
    expect(decodeURIComponent(again.path.split('/')[6]!)).toBe(sessions[0]);
  });

  it('names a memory only to an agent that remembers: within the rules, one for each user of each tenant', async () => {
    const userIds = [newUserId(0), newUserId(1)];
    const remembering = { ...AGENT, memory: true };
    const memories: string[] = [];
    for (const slug of ['acme', 'a'.repeat(40)]) {
      for (const userId of userIds) {
        const question = aQuestion({ tenantId: parseTenantId(slug)!, userId });
        const { body } = await callFor(question, remembering);
        expect(body.memoryId).toMatch(SESSION_ID);
        memories.push(body.memoryId);
        const other = await callFor({ ...question, conversationId: newConversationId(1) }, remembering);
        expect(other.body.memoryId).toBe(body.memoryId);
        expect((await callFor(question)).body).not.toHaveProperty('memoryId');
      }
    }
    expect(new Set(memories).size).toBe(4);
  });

  it('filters every knowledge base of the agent by the tenant, on every call', async () => {
    const agent = { ...AGENT, knowledgeBaseIds: ['KBONE', 'KBTWO', 'KBTHREE'] };
    // The tenant may use fewer: the filter is for what the agent could search.
    for (const knowledgeBaseIds of [['KBONE'], [], ['KBONE', 'KBTWO', 'KBTHREE']]) {
      const { body } = await callFor(aQuestion({ knowledgeBaseIds }), agent);
      expect(body.sessionState.knowledgeBaseConfigurations).toEqual(
        agent.knowledgeBaseIds.map((knowledgeBaseId) => ({
          knowledgeBaseId,
          retrievalConfiguration: {
            vectorSearchConfiguration: { filter: { equals: { key: 'tenantId', value: 'acme' } } },
          },
        })),
      );
    }
  });

  it('leaves the list of knowledge bases out for an agent without any: an empty one is refused', async () => {
    const { body } = await callFor(aQuestion(), { ...AGENT, knowledgeBaseIds: [] });
    expect('knowledgeBaseConfigurations' in body.sessionState).toBe(false);
  });

  it('is not sent for an agent that is no longer configured', async () => {
    const before = server.calls.length;
    const { source, close } = bedrockAgentsAt(server.url);
    const { parts, error } = await readAnswer(source, aQuestion({ agentId: 'gone' }));
    close();
    expect(error).toMatchObject({ code: 'AGENT_UNAVAILABLE', details: { retryable: false } });
    expect(parts).toEqual([]);
    expect(server.calls.length).toBe(before);
  });
});

describe('against the emulator', () => {
  let emulator: BedrockEmulator;
  let agents: ReturnType<typeof bedrockAgentsAt>;
  beforeAll(async () => {
    emulator = await startBedrockEmulator({ agents: demoAgents, passages: demoPassages, chunksPerSecond: Infinity });
    agents = bedrockAgentsAt(emulator.url, { agents: demoAgentDefinitions });
  });
  afterAll(async () => {
    agents.close();
    await emulator.close();
  });
  beforeEach(() => emulator.reset());

  const knowledgeBaseIds = ['KBSUPPORT1', 'KBANALYST1'];
  const ask = (text: string, tenant = 'acme') =>
    readAnswer(agents.source, aQuestion({ tenantId: parseTenantId(tenant)!, knowledgeBaseIds, text }));

  it('an answer is streamed with citations of the tenant, and every token the emulator sent is reported once', async () => {
    const { parts, text, error } = await ask(
      'What is the refund policy? [[emulate steps=3 inputTokens=300 outputTokens=50]]',
    );
    expect(error).toBeNull();
    expect(text.length).toBeGreaterThan(20);
    expect(parts.filter(({ type }) => type === 'text').length).toBeGreaterThan(1);
    expect(parts[0]).toEqual({ type: 'attempt', aliasId: 'ALSUPPORT1' });
    const citations = parts.flatMap((part) => (part.type === 'citation' ? [part.citation] : []));
    expect(citations.length).toBeGreaterThan(0);
    for (const { source, title } of citations) {
      expect(source).toContain('/acme/');
      expect(title).toMatch(/^Acme/);
    }
    const usages = parts.flatMap((part) => (part.type === 'usage' ? [part] : []));
    const [served] = emulator.served();
    expect(served).toMatchObject({ outcome: 'completed', inputTokens: 300, outputTokens: 50 });
    expect(usages.reduce((sum, each) => sum + each.inputTokens, 0)).toBe(300);
    expect(usages.reduce((sum, each) => sum + each.outputTokens, 0)).toBe(50);
    for (const { modelId } of usages) expect(modelId).toBe('amazon.nova-lite-v1:0');
    expect(parts.some((part) => part.type === 'activity' && part.service === 'KNOWLEDGE_BASE')).toBe(true);
  });

  it('two tenants with the same question get their own answers', async () => {
    const [acme, globex] = [await ask('What is the refund policy?'), await ask('What is the refund policy?', 'globex')];
    expect(acme.text).not.toBe(globex.text);
    expect(JSON.stringify(acme.parts)).not.toMatch(/globex/i);
    expect(JSON.stringify(globex.parts)).not.toMatch(/acme/i);
    for (const { filters } of emulator.served())
      for (const filter of Object.values(filters)) expect(filter).not.toBeNull();
  });

  it('passages of another tenant end it as a violation, before any text that rests on them', async () => {
    const { error, text } = await ask('What is the refund policy? [[emulate foreign=globex]]');
    expect(error).toMatchObject({ code: 'ISOLATION_VIOLATION', details: { retryable: false } });
    expect(text).not.toMatch(/globex/i);
  });

  it('a tool that this installation does not have is AGENT_UNAVAILABLE, for good', async () => {
    const { error } = await ask('Order 7 [[emulate tool=getOrder]]');
    expect(error).toMatchObject({ code: 'AGENT_UNAVAILABLE', details: { retryable: false } });
  });

  it('a cut connection, a stream without an end and one without anything are told apart from an answer', async () => {
    expect((await ask('Hi [[emulate cut=true after=3]]')).error).toMatchObject({ code: 'AGENT_UNAVAILABLE' });
    const { text, error } = await ask('Hi [[emulate empty=true]]');
    expect([text, error]).toEqual(['', null]); // whoever reads it takes an answer without text for a failure
  });
});
