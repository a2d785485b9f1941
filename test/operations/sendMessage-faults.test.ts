import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { UsageEvent } from '../../src/usage/model.ts';
import { parseTenantId } from '../../src/tenancy/tenant-id.ts';
import { collect } from '../support/collect.ts';
import { startOwnStorage } from '../support/own-storage.ts';
import { SEND, startWorld, type Caller, type World } from '../support/world.ts';

const IDLE_MS = 1_000;
const [FIRST, SECOND] = ['ALSUPPORT1', 'ALSUPPORT2'];

let storage: Awaited<ReturnType<typeof startOwnStorage>>;
let world: World;
beforeAll(async () => {
  storage = await startOwnStorage();
  world = await startWorld({ config: { ...storage.config, bedrockIdleTimeoutMs: IDLE_MS } });
});
afterAll(async () => {
  await world.stop();
  await storage.close();
});

/** Sends in a conversation of its own, or in this one, and returns the answer. */
async function send(caller: Caller, content: string, conversationId?: string) {
  const id = conversationId ?? (await caller.createConversation());
  const { data, errors } = await caller.run(SEND, { input: { conversationId: id, content, waitForCompletion: true } });
  expect(errors).toEqual([]);
  return { id, answer: data.sendMessage.assistantMessage };
}

/** What was metered of a conversation's turns. */
async function metered(conversationId: string, slug = 'acme') {
  const events: UsageEvent[] = await collect(
    storage.db.forTenant(parseTenantId(slug)!).usage.events(Date.now() - 60_000, Date.now() + 1_000),
  );
  return events.flatMap((event) => (event.kind === 'TURN' && event.conversationId === conversationId ? [event] : []));
}

interface Expected {
  readonly attempts: number;
  readonly alias: string;
  readonly message?: string;
  readonly code?: string;
  readonly retryAfterMs?: number | null;
  readonly text?: boolean;
}

const row = (emulate: string, expected: Expected): [string, Expected] => [emulate, expected];
const retried = (message: string, retryAfterMs: number): Expected => ({
  attempts: 6,
  alias: SECOND,
  message,
  retryAfterMs,
});
const nextAlias = (message: string, retryAfterMs: number | null): Expected => ({
  attempts: 2,
  alias: SECOND,
  message,
  retryAfterMs,
});
const final = (message: string, retryAfterMs: number | null): Expected => ({
  attempts: 1,
  alias: FIRST,
  message,
  retryAfterMs,
});

/** What `docs/errors.md` says of each exception. */
const EXCEPTIONS: Readonly<Record<string, Expected>> = {
  ThrottlingException: retried('The agent is busy.', 1_000),
  ModelNotReadyException: retried('The model is not ready yet.', 5_000),
  ConflictException: retried('The agent is busy with another request of this conversation.', 1_000),
  InternalServerException: retried('The agent failed.', 2_000),
  BadGatewayException: retried('The agent failed.', 2_000),
  DependencyFailedException: retried('Something the agent depends on failed.', 5_000),
  ServiceQuotaExceededException: nextAlias("The agent's quota is used up.", 60_000),
  AccessDeniedException: nextAlias('This installation may not call the agent.', null),
  ResourceNotFoundException: nextAlias('The agent does not exist.', null),
  ValidationException: final('The agent refused the request.', null),
};

const FAILURES = [
  ...Object.entries(EXCEPTIONS).flatMap(([name, expected]) => [
    row(`error=${name}`, expected),
    row(`error=${name} after=3`, { ...expected, attempts: 1, alias: FIRST, text: true }),
  ]),
  row('cut=true after=0', retried('The connection to the agent was lost.', 1_000)),
  row('cut=true', { ...final('The connection to the agent was lost.', 1_000), text: true }),
  row('stall=true after=0', nextAlias('The agent stopped answering.', 5_000)),
  row('stall=true', { ...final('The agent stopped answering.', 5_000), text: true }),
  row('empty=true', final('The agent ended without an answer.', 1_000)),
  row('tool=lookUp', final('The agent asked for a tool that this installation does not offer.', null)),
  row('foreign=globex after=2', {
    ...final('The answer was withheld: it rested on data that is not this tenant’s.', null),
    code: 'ISOLATION_VIOLATION',
  }),
  row('nonsense=1', final('The agent refused the request.', null)),
];

const RECOVERIES = [
  row('error=ThrottlingException times=1', { attempts: 2, alias: FIRST }),
  row('error=InternalServerException times=3', { attempts: 4, alias: SECOND }),
  row('error=ModelNotReadyException alias=1', { attempts: 4, alias: SECOND }),
  row('error=ServiceQuotaExceededException alias=ALSUPPORT1', { attempts: 2, alias: SECOND }),
  row('error=ResourceNotFoundException alias=2', { attempts: 1, alias: FIRST }),
  row('cut=true after=0 times=2', { attempts: 3, alias: FIRST }),
  row('stall=true after=0 times=1', { attempts: 2, alias: SECOND }),
];

describe('with another tenant who is served, so that the agent counts as up', () => {
  beforeAll(() => send(world.globex.member, 'What about refunds?'));

  it.concurrent.each(FAILURES)('%s ends as documented, and the conversation goes on', async (emulate, expected) => {
    const { attempts, alias, message, code = 'AGENT_UNAVAILABLE', retryAfterMs = null, text = false } = expected;
    const { member } = world.acme;
    const { id, answer } = await send(member, `What about refunds? [[emulate ${emulate}]]`);
    expect(answer).toMatchObject({
      status: 'FAILED',
      error: { code, message, retryable: retryAfterMs !== null, retryAfterMs },
    });
    expect(answer.content !== '').toBe(text);
    expect((await send(member, 'And now?', id)).answer).toMatchObject({ status: 'COMPLETED', error: null });
    const events = await metered(id);
    expect(events.find(({ first }) => first)).toMatchObject({
      ...{ status: 'FAILED', errorCode: code, attempts, aliasId: alias },
      // The tokens of every call are counted, whether it failed or not.
      ...{ inputTokens: answer.usage.inputTokens, outputTokens: answer.usage.outputTokens },
    });
    expect(events.find(({ first }) => !first)).toMatchObject({ status: 'COMPLETED', attempts: 1, aliasId: FIRST });
  });

  it.concurrent.each(RECOVERIES)('%s is answered nevertheless', async (emulate, { attempts, alias }) => {
    const { id, answer } = await send(world.acme.member, `What about refunds? [[emulate ${emulate}]]`);
    expect(answer).toMatchObject({ status: 'COMPLETED', error: null });
    expect(await metered(id)).toMatchObject([{ status: 'COMPLETED', attempts, aliasId: alias }]);
    const served = world.product.served().filter(({ sessionId }) => sessionId.endsWith(id));
    expect(served.map(({ aliasId }) => aliasId)).toHaveLength(attempts);
    const reported = served.reduce((sum, { inputTokens, outputTokens }) => sum + inputTokens + outputTokens, 0);
    if (!emulate.includes('true')) expect(answer.usage.totalTokens).toBe(reported);
    else expect(answer.usage.totalTokens).toBeGreaterThan(reported); // steps that were cut short are estimated
  });
});

describe('a storm of throttling', () => {
  const both = () => [...Array<Caller>(8).fill(world.acme.member), ...Array<Caller>(8).fill(world.globex.member)];

  /** Asks the other agent, which has a circuit of its own. */
  async function askAnalyst(caller: Caller, content: string) {
    const query = `mutation($input: CreateConversationInput!) { createConversation(input: $input) { conversation { id } } }`;
    const { data } = await caller.run(query, { input: { title: 'Figures', agentId: 'analyst' } });
    return send(caller, content, data.createConversation.conversation.id);
  }

  it('that passes is not seen by anybody', async () => {
    const content = 'What about refunds? [[emulate error=ThrottlingException times=2]]';
    const answers = await Promise.all(both().map((caller) => send(caller, content)));
    expect(answers.map(({ answer }) => answer.status)).toEqual(Array(16).fill('COMPLETED'));
  });

  it('that lasts is answered with a pause; then the agent is left alone, and others are not', async () => {
    const content = 'Revenue? [[emulate error=ThrottlingException]]';
    const answers = await Promise.all(both().map((caller) => askAnalyst(caller, content)));
    for (const { answer } of answers) {
      expect(answer).toMatchObject({ status: 'FAILED', error: { code: 'AGENT_UNAVAILABLE', retryable: true } });
      expect(answer.error.retryAfterMs).toBeGreaterThan(0);
    }

    const { id } = answers[0]!;
    const { answer } = await send(world.acme.member, 'And now?', id);
    expect(answer).toMatchObject({
      error: { code: 'AGENT_UNAVAILABLE', message: 'The agent is failing, and is not asked for a moment.' },
      usage: { totalTokens: 0 },
    });
    expect(answer.error.retryAfterMs).toBeGreaterThan(0);
    expect(answer.error.retryAfterMs).toBeLessThanOrEqual(10_000);
    expect((await metered(id)).find(({ first }) => !first)).toMatchObject({
      ...{ status: 'FAILED', attempts: 0, aliasId: null, inputTokens: 0 },
    });
    expect((await send(world.acme.member, 'And you?')).answer.status).toBe('COMPLETED');
  });
});
