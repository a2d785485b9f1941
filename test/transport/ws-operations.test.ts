import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/kernel/clock.ts';
import { start } from '../../src/main.ts';
import { captureLog } from '../support/log-capture.ts';
import { openSocket, type RawSocket } from '../support/raw-socket.ts';
import { startSmallApi } from '../support/small-api.ts';
import { SEND, startWorld, STREAM, testConfig, type Caller, type World } from '../support/world.ts';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.stop());

const opened: RawSocket[] = [];
afterEach(() => opened.splice(0).forEach(({ socket }) => socket.terminate()));

async function socketOf(payload: object, url = world.wsUrl): Promise<RawSocket> {
  const socket = await openSocket(url);
  opened.push(socket);
  expect(await socket.init(payload)).toEqual({ type: 'connection_ack' });
  return socket;
}

const bearer = ({ token }: Caller) => ({ authorization: `Bearer ${token}` });

/** The first message of an operation. */
async function ask(socket: RawSocket, query: string, variables: object = {}) {
  const id = Math.random().toString(36).slice(2);
  socket.subscribe(id, query, variables);
  const first = await socket.next();
  if (first.type === 'next') expect(await socket.next()).toEqual({ id, type: 'complete' });
  return first;
}

const SIGN_IN = 'mutation($input: SignInInput!) { signIn(input: $input) { accessToken viewer { id } } }';
const CREATE =
  'mutation($input: CreateConversationInput!) { createConversation(input: $input) { conversation { id } } }';

describe('ok', () => {
  it('a query, a mutation and a subscription run over one socket', async () => {
    const socket = await socketOf(bearer(world.acme.member));
    const created = await ask(socket, CREATE, { input: { title: 'Over a socket' } });
    const conversationId = created.payload.data.createConversation.conversation.id as string;
    const sent = await ask(socket, SEND, { input: { conversationId, content: 'hello' } });
    const messageId = sent.payload.data.sendMessage.assistantMessage.id as string;
    socket.subscribe('stream', STREAM, { messageId });
    const events = (await socket.until('complete')).slice(0, -1).map(({ payload }) => payload.data.messageStream);
    expect(events.map(({ sequence }) => sequence)).toEqual(events.map((_event, index) => index + 1));
    expect(events.at(-1)).toMatchObject({ __typename: 'MessageCompleted', message: { status: 'COMPLETED' } });
    const read = await ask(socket, 'query($id: ID!) { conversation(id: $id) { messageCount } }', {
      id: conversationId,
    });
    expect(read.payload).toMatchObject({ data: { conversation: { messageCount: 2 } } });
  });

  it('many operations at once over one socket each get their own answer', async () => {
    const socket = await socketOf(bearer(world.acme.member));
    const ids = Array.from({ length: 50 }, (_, n) => `op-${n}`);
    for (const id of ids) socket.subscribe(id, `{ viewer { id } alias${id.slice(3)}: __typename }`);
    const answers = new Map<string, unknown>();
    for (let n = 0; n < ids.length * 2; n++) {
      const { type, id, payload } = await socket.next();
      if (type === 'next') answers.set(id!, payload.data);
    }
    for (const id of ids) {
      expect(answers.get(id)).toEqual({ viewer: { id: world.acme.member.id }, [`alias${id.slice(3)}`]: 'Query' });
    }
  });

  it('the names in the payload are read in any letter case, and an operator acts in the tenant it names', async () => {
    const socket = await socketOf({ Authorization: `Bearer ${world.operator.token}`, 'X-Tenant-Id': 'globex' });
    expect((await ask(socket, '{ tenant { id } }')).payload.data).toEqual({ tenant: { id: 'globex' } });
  });
});

describe('refusals', () => {
  it('another tenant, a role, an id of nobody: the codes of HTTP', async () => {
    const named = await socketOf({ ...bearer(world.acme.member), 'x-tenant-id': 'globex' });
    const operator = await socketOf(bearer(world.operator));
    const member = await socketOf(bearer(world.acme.member));
    const foreign = await world.globex.member.createConversation();
    const codes = async (socket: RawSocket, query: string) =>
      (await ask(socket, query)).payload.errors.map(
        ({ extensions }: { extensions: { code: string } }) => extensions.code,
      );
    expect(await codes(named, '{ tenant { id } }')).toEqual(['FORBIDDEN']);
    expect(await codes(operator, '{ tenant { id } }')).toEqual(['TENANT_REQUIRED']);
    const usage = 'usageSummary(start: "2026-01-01T00:00:00.000Z", end: "2026-01-02T00:00:00.000Z") { start }';
    expect(await codes(member, `{ ${usage} }`)).toEqual(['FORBIDDEN']);
    const rename = `renameConversation(input: { conversationId: "${foreign}", title: "mine" }) { conversation { id } }`;
    expect(await codes(member, `mutation { ${rename} }`)).toEqual(['NOT_FOUND']);
    expect(await codes(member, 'subscription { messageStream(messageId: "msg-x") { sequence } }')).toEqual([
      'NOT_FOUND',
    ]);
    expect(await codes(member, 'subscription { messageStream(messageId: "msg-x", after: -1) { sequence } }')).toEqual([
      'BAD_USER_INPUT',
    ]);
  });

  it('a socket without a token can sign in, and do nothing else', async () => {
    const socket = await socketOf({});
    const input = { tenant: 'acme', email: 'member@acme.example', password: world.config.demoPassword };
    const signedIn = await ask(socket, SIGN_IN, { input });
    expect(signedIn.payload.data.signIn.viewer.id).toBe(world.acme.member.id);
    // Signing in on a socket does not sign the socket in: its credential is the one it was opened with.
    for (const query of [
      '{ viewer { id } }',
      '{ tenant { id } }',
      '{ conversations { nodes { id } } }',
      'mutation { createConversation(input: {}) { conversation { id } } }',
      'subscription { messageStream(messageId: "msg-x") { sequence } }',
    ]) {
      const { payload } = await ask(socket, query);
      expect(payload.data ?? null).toBeNull();
      expect(payload.errors).toMatchObject([{ extensions: { code: 'UNAUTHENTICATED' } }]);
    }
  });

  it.each([[null], [42], [{ a: 1 }], [['Bearer x']]])(
    'an authorization of %j signs nobody in',
    async (authorization) => {
      const socket = await openSocket(world.wsUrl);
      opened.push(socket);
      await socket.init({ authorization });
      const { payload } = await ask(socket, '{ viewer { id } }');
      expect(payload.errors).toMatchObject([{ extensions: { code: 'UNAUTHENTICATED' } }]);
    },
  );
});

describe('faults of ours are masked as over HTTP', () => {
  const SECRET = 'row T#acme#CONV of table prod-app';
  let api: Awaited<ReturnType<typeof startSmallApi>>;
  const failing = () => Promise.reject(new Error(SECRET));
  async function* failsLater() {
    yield { later: 1 };
    await failing();
  }
  beforeAll(async () => {
    api = await startSmallApi({
      typeDefs: `
        type Query { thrown: Int ok: Int badNumber: Int }
        type Mutation { thrown: Int }
        type Subscription { refused: Int later: Int event: Int notIterable: Int }`,
      resolvers: {
        Query: { thrown: failing, ok: () => 1, badNumber: () => SECRET },
        Mutation: { thrown: failing },
        Subscription: {
          refused: { subscribe: failing },
          later: { subscribe: failsLater },
          event: { subscribe: failsLater, resolve: failing },
          notIterable: { subscribe: () => SECRET },
        },
      },
    });
  });
  afterAll(() => api.stop());

  it.each([
    '{ ok thrown }',
    '{ badNumber }',
    'mutation { thrown }',
    'subscription { refused }',
    'subscription { event }',
    'subscription { later }',
    'subscription { notIterable }',
  ])('%s: INTERNAL with a request id that finds it in the log, and the socket lives on', async (query) => {
    const socket = await socketOf({}, api.wsUrl);
    socket.subscribe('1', query);
    const messages = [await socket.next()];
    const erred = () => messages.find(({ type, payload }) => type === 'error' || payload?.errors);
    while (!erred()) messages.push(await socket.next());
    const { type, payload } = erred()!;
    const [error] = type === 'error' ? payload : payload.errors;
    expect(error.extensions.code).toBe('INTERNAL');
    expect(JSON.stringify(messages)).not.toContain('acme');
    const requestId = error.extensions.requestId as string;
    expect(requestId).toMatch(/^[0-9a-f-]{36}$/);
    const line = api.logLines.find((each) => each.requestId === requestId && each.msg === 'unexpected error');
    expect(JSON.stringify(line)).toContain(SECRET);
    socket.subscribe('2', '{ ok }');
    let message = await socket.next();
    while (message.id !== '2') message = await socket.next();
    expect(message.payload).toMatchObject({ data: { ok: 1 } });
  });
});

describe('the log', () => {
  it('has one line for every operation over a socket, refused ones too, with its outcome', async () => {
    const { log, lines } = captureLog();
    const product = await start(testConfig(), { clock: systemClock, log });
    try {
      const socket = await socketOf({}, `${product.url.replace('http', 'ws')}/graphql`);
      const input = { tenant: 'acme', email: 'member@acme.example', password: world.config.demoPassword };
      const { payload } = await ask(socket, SIGN_IN, { input });
      const member = await socketOf(
        { authorization: `Bearer ${payload.data.signIn.accessToken}` },
        `${product.url.replace('http', 'ws')}/graphql`,
      );
      await ask(member, '{ viewer { id } }');
      await ask(member, 'mutation { deleteConversation(input: { conversationId: "x" }) { deletedConversationId } }');
      await ask(member, 'subscription { messageStream(messageId: "msg-x") { sequence } }');
      await ask(member, '{ viewr { id } }');
      await ask(member, '{');
      const operations = lines.flatMap(({ operation }) => operation ?? []);
      expect(operations.map(({ type, errorCodes }) => [type, ...errorCodes])).toEqual([
        ['mutation'],
        ['query'],
        ['mutation', 'NOT_FOUND'],
        ['subscription', 'NOT_FOUND'],
        [expect.any(String), 'GRAPHQL_VALIDATION_FAILED'],
        [expect.any(String), 'GRAPHQL_PARSE_FAILED'],
      ]);
      expect(new Set(lines.flatMap(({ operation, requestId }) => (operation ? [requestId] : []))).size).toBe(6);
    } finally {
      await product.stop();
    }
  });
});
