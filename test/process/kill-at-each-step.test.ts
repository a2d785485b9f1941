import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { start } from '../../src/main.ts';
import { parseTenantId } from '../../src/tenancy/tenant-id.ts';
import { createTestClock, type TestClock } from '../support/clock.ts';
import { collect } from '../support/collect.ts';
import { captureLog } from '../support/log-capture.ts';
import { startLossyProxy, type PassingRequest } from '../support/lossy-proxy.ts';
import { startOwnStorage } from '../support/own-storage.ts';
import { startProduct } from '../support/product-process.ts';
import { signInAt, type RemoteCaller } from '../support/remote-caller.ts';
import { testConfig } from '../support/world.ts';

const LEASE_MS = 60_000;
const acme = parseTenantId('acme')!;
/** With it, the instances share streams; without, each has its own. */
const REDIS_URL = process.env['REDIS_URL'];

interface Write {
  readonly operation: string;
  readonly PK: string;
  readonly SK: string;
  /** The attributes its expressions name. */
  readonly names: readonly string[];
  readonly expression: string;
}

function writeOf({ operation, body }: PassingRequest): Write {
  const {
    Item,
    Key,
    ExpressionAttributeNames = {},
    UpdateExpression = '',
  } = JSON.parse(body) as {
    Item?: Record<string, { S: string }>;
    Key?: Record<string, { S: string }>;
    ExpressionAttributeNames?: Record<string, string>;
    UpdateExpression?: string;
  };
  const row = Item ?? Key ?? {};
  const names = Object.values(ExpressionAttributeNames);
  return { operation, PK: row['PK']?.S ?? '', SK: row['SK']?.S ?? '', names, expression: UpdateExpression };
}

const put = (of: string) => (write: Write) => write.operation === 'PutItem' && `${write.PK} ${write.SK}`.includes(of);
const update =
  (of: string, name: string, verb = 'SET') =>
  ({ operation, PK, SK, names, expression }: Write) =>
    operation === 'UpdateItem' && `${PK} ${SK}`.includes(of) && names.includes(name) && expression.includes(verb);
const ANSWER = 'M#0000000002';

const isDue = ({ duePK }: Record<string, unknown>) => typeof duePK === 'string' && duePK.startsWith('SYS#DUE');

/** The writes of a turn, in their order, and what becomes of an answer whose process is killed when one has just been done. */
const STEPS: readonly { name: string; is: (write: Write) => boolean; status: 'none' | 'FAILED' | 'COMPLETED' }[] = [
  { name: 'the turn row', is: put('#TURN#'), status: 'none' },
  { name: 'the lock', is: update('META', 'lastSeq', 'ADD'), status: 'FAILED' },
  { name: 'the reservation', is: update('#Q ', 'used', 'SET'), status: 'FAILED' },
  { name: 'the user’s message', is: put('M#0000000001'), status: 'FAILED' },
  { name: 'the placeholder', is: put(ANSWER), status: 'FAILED' },
  { name: 'the place on the turn row', is: update('#TURN#', 'seq'), status: 'FAILED' },
  {
    name: 'a checkpoint',
    is: (write) => update(ANSWER, 'metering')(write) && !write.names.includes('completedAt'),
    status: 'FAILED',
  },
  { name: 'the answer', is: update(ANSWER, 'completedAt'), status: 'COMPLETED' },
  { name: 'the usage event', is: put('#E#'), status: 'COMPLETED' },
  { name: 'the settlement', is: update('#Q ', 'used', 'REMOVE'), status: 'COMPLETED' },
  { name: 'the unlocking', is: update('META', 'turn', 'REMOVE'), status: 'COMPLETED' },
  { name: 'the end of the turn row', is: update('#TURN#', 'done', 'REMOVE'), status: 'COMPLETED' },
];

describe(`a process is killed (SIGKILL) at each step of a turn, and two others race to repair it, ${REDIS_URL ? 'with' : 'without'} Redis`, () => {
  const { log, lines } = captureLog('warn');
  let storage: Awaited<ReturnType<typeof startOwnStorage>>;
  let instances: Awaited<ReturnType<typeof start>>[] = [];
  let member: RemoteCaller;
  let clock: TestClock;
  const conversations = new Map<string, string>();

  const inputOf = (step: string) => ({
    // Slowly, so that no later write is under way when a checkpoint has been done.
    content: `Killed after ${step}${step === 'a checkpoint' ? ' [[emulate chunks=20 delayMs=50]]' : ''}`,
    idempotencyKey: `the key of ${step}`,
  });

  /** Has a process of its own begin a turn, and kills it when this write has been done. */
  async function killAfter({ name, is }: (typeof STEPS)[number]) {
    const proxy = await startLossyProxy(storage.config.storage.endpoint);
    const { signingKey, cursorSecret } = storage.config.secrets;
    const product = startProduct({
      ...{ STORAGE: 'dynamodb', DYNAMODB_ENDPOINT: proxy.endpoint, EMULATOR_CHUNKS_PER_SECOND: '1000' },
      ...{ JWT_SIGNING_KEY: JSON.stringify(signingKey), CURSOR_SECRET: cursorSecret },
      ...{ AWS_ACCESS_KEY_ID: 'embedded', AWS_SECRET_ACCESS_KEY: 'embedded' },
      ...(REDIS_URL && { REDIS_URL }),
    });
    try {
      const caller = await signInAt(await product.url);
      const id = await caller.createConversation(name);
      conversations.set(name, id);
      proxy.loseNext(
        (request) => is(writeOf(request)),
        async () => {
          product.kill('SIGKILL');
          await product.exit;
        },
      );
      await caller.send(id, inputOf(name).content, inputOf(name)).catch(() => null);
      expect((await product.exit).signal).toBe('SIGKILL');
    } finally {
      await product.destroy();
      await proxy.close();
    }
  }

  beforeAll(async () => {
    storage = await startOwnStorage();
    // A few at a time: each start keeps a core busy for a second.
    const left = [...STEPS];
    const worker = async () => {
      for (let step = left.shift(); step; step = left.shift()) await killAfter(step);
    };
    await Promise.all(Array.from({ length: 4 }, worker));
    clock = createTestClock(Date.now() + LEASE_MS + 1_000);
    const config = { ...testConfig(storage.config), redisUrl: REDIS_URL ?? null };
    instances = await Promise.all([start(config, { clock, log }), start(config, { clock, log })]);
    member = await signInAt(instances[0]!.url);
    const due = async () => (await storage.rows()).filter(isDue);
    for (let rounds = 0; rounds < 30 && (await due()).length > 0; rounds++) await clock.advance(1_000);
  }, 120_000);
  afterAll(async () => {
    for (const instance of instances) await instance.stop();
    await storage.close();
  });

  const eventsOf = async (id: string) => {
    const day = 86_400_000;
    const events = await collect(storage.db.forTenant(acme).usage.events(Date.now() - day, Date.now() + day));
    return events.filter((event) => event.kind === 'TURN' && event.conversationId === id);
  };
  const READ =
    'query($id: ID!) { conversation(id: $id) { messageCount messages { nodes { id role status content error { code retryable } usage { totalTokens estimated } } } } }';

  it('every one of the writes was met', () => {
    expect([...conversations.keys()].toSorted()).toEqual(STEPS.map(({ name }) => name).toSorted());
    expect(lines.filter(({ msg }) => msg === 'repair failed')).toEqual([]);
  });

  it.each(STEPS)(
    'after $name: nothing is lost, nothing is billed twice, and the conversation is usable',
    async (step) => {
      const id = conversations.get(step.name)!;
      const { conversation } = await member.run(READ, { id });
      const messages = conversation.messages.nodes as {
        id: string;
        role: string;
        status: string;
        error: object | null;
        content: string;
      }[];
      const events = await eventsOf(id);
      if (step.status === 'none') {
        expect(messages).toEqual([]);
        expect(events).toEqual([]);
      } else {
        expect(messages).toMatchObject([
          { role: 'USER', status: 'COMPLETED', content: inputOf(step.name).content },
          { role: 'ASSISTANT', status: step.status },
        ]);
        if (step.status === 'FAILED') expect(messages[1]!.error).toEqual({ code: 'INTERRUPTED', retryable: true });
        else expect(messages[1]!.content).not.toBe('');
        expect(events).toMatchObject([{ status: step.status, first: true }]);
      }

      // The client never heard: it sends again with the same key, and meets the same turn, or begins it where nothing was left.
      const again = await member.send(id, inputOf(step.name).content, {
        ...inputOf(step.name),
        waitForCompletion: true,
      });
      if (messages.length > 0) expect(again.assistantMessage.id).toBe(messages[1]!.id);
      else expect(again.assistantMessage.status).toBe('COMPLETED');
      expect(await eventsOf(id)).toHaveLength(1);
      const next = await member.send(id, 'And now?', { waitForCompletion: true });
      expect(next.assistantMessage.status).toBe('COMPLETED');
    },
  );

  it('in the end no lock, no hold and nothing due is left, and the tokens used are the sum of the usage events', async () => {
    // The last turn's row is closed after its readers have heard of the end.
    await expect.poll(async () => (await storage.rows()).filter(isDue)).toEqual([]);
    const rows = await storage.rows();
    expect(rows.filter(({ SK, turn }) => SK === 'META' && turn !== undefined)).toEqual([]);
    const day = 86_400_000;
    const data = storage.db.forTenant(acme);
    const events = await collect(data.usage.events(Date.now() - day, Date.now() + day));
    const used = events.reduce(
      (sum, event) => sum + (event.kind === 'SIGN_IN' ? 0 : event.inputTokens + event.outputTokens),
      0,
    );
    const months = new Set([Date.now(), clock.now()].map((ms) => new Date(ms).toISOString().slice(0, 7)));
    const states = await Promise.all([...months].map((month) => data.quota.state(month)));
    expect(states.reduce((sum, { usedInMonth }) => sum + usedInMonth, 0)).toBe(used);
    expect(states.flatMap(({ holds }) => Object.keys(holds))).toEqual([]);
  });
});
