import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RequestContext } from '../../src/context.ts';
import { createOperationLog } from '../../src/server/log.ts';
import { captureLog } from '../support/log-capture.ts';
import { GRAPHQL_RESPONSE, rawHttp, type RawRequest } from '../support/raw-http.ts';
import { openSocket } from '../support/raw-socket.ts';
import { startWorld, type World } from '../support/world.ts';

let world: World;
let conversationId: string;
beforeAll(async () => {
  world = await startWorld({ config: { introspection: false } });
  conversationId = await world.acme.member.createConversation();
  await world.acme.member.ask(conversationId, 'hello');
});
afterAll(() => world.stop());

const member = () => ({ authorization: `Bearer ${world.acme.member.token}` });

interface Errors {
  readonly errors: readonly { readonly message: string; readonly extensions: { readonly code: string } }[];
  readonly data: unknown;
}

const overHttp = async (query: string, variables: object = {}): Promise<Errors> => {
  const { body } = await rawHttp(world.url).post(query, variables, member());
  return { errors: body.errors ?? [], data: body.data ?? null };
};

const overSocket = async (query: string, variables: object = {}): Promise<Errors> => {
  const socket = await openSocket(world.wsUrl);
  await socket.init(member());
  socket.subscribe('1', query, variables);
  const { type, payload } = await socket.next();
  socket.socket.close();
  return type === 'error'
    ? { errors: payload, data: null }
    : { errors: payload.errors ?? [], data: payload.data ?? null };
};

const overEvents = async (query: string, variables: object = {}): Promise<Errors> => {
  const { text } = await rawHttp(world.url).post(query, variables, { ...member(), accept: 'text/event-stream' });
  const { errors = [], data = null } = JSON.parse(
    /^event: next\ndata: (.*)$/m.exec(text)?.[1] ?? '',
  ) as Partial<Errors>;
  return { errors, data };
};

const repeat = (count: number, text: (index: number) => string) =>
  Array.from({ length: count }, (_, n) => text(n)).join(' ');

/** A document of a few lines whose every level has the level below it twice. */
const bomb = (levels: number) => `
  query { conversation(id: "${conversationId}") { ...F0 } }
  ${repeat(levels, (n) => {
    const below = `lastMessage { conversation { ...F${n + 1} } }`;
    return `fragment F${n} on Conversation { a: ${below} b: ${below} }`;
  })}
  fragment F${levels} on Conversation { id }`;

describe.each([
  ['HTTP', overHttp],
  ['a socket', overSocket],
  ['an event stream', overEvents],
] as const)('over %s', (_name, run) => {
  it.each([
    ['__schema', '{ __schema { types { name } } }'],
    ['__type', '{ __type(name: "Query") { fields { name } } }'],
    ['__schema under another name', '{ a: __schema { b: types { c: name } } }'],
    ['__schema in a fragment', '{ ...F } fragment F on Query { __schema { types { name } } }'],
  ])('introspection is off: %s', async (_case, query) => {
    const { data, errors } = await run(query);
    expect(data).toBeNull();
    expect(errors[0]?.extensions.code).toBe('GRAPHQL_VALIDATION_FAILED');
    expect(JSON.stringify(errors)).not.toContain('Conversation');
  });

  it('`__typename` still answers: clients need it', async () => {
    expect((await run('{ __typename }')).data).toEqual({ __typename: 'Query' });
  });

  it.each([
    ['a field', '{ viewr { id } }', {}],
    ['an argument', '{ conversation(ids: "x") { id } }', {}],
    ['a type', '{ node(id: "x") { ... on Conversatio { id } } }', {}],
    ['a field of an input', 'mutation { createConversation(input: { titel: "x" }) { conversation { id } } }', {}],
    [
      'a field of an input in the variables',
      'mutation($input: CreateConversationInput!) { createConversation(input: $input) { conversation { id } } }',
      { input: { titel: 'x' } },
    ],
  ])('nothing is suggested for a misspelled name of %s', async (_case, query, variables) => {
    const { data, errors } = await run(query, variables);
    expect(data).toBeNull();
    expect(errors.length).toBeGreaterThan(0);
    expect(JSON.stringify(errors)).not.toMatch(/did you mean/i);
  });

  it('a flood of tokens is refused while it is read', async () => {
    const { data, errors } = await run(`{ ${repeat(2_000, (n) => `a${n}: __typename`)} }`);
    expect(data).toBeNull();
    expect(errors[0]).toMatchObject({ extensions: { code: 'GRAPHQL_PARSE_FAILED' } });
    expect(errors[0]?.message).toMatch(/token/i);
  });

  it('deep nesting is refused while it is read, and the server lives on', async () => {
    const { errors } = await run(`${'{ a '.repeat(100_000)}${'}'.repeat(100_000)}`);
    expect(errors[0]?.extensions.code).toBe('GRAPHQL_PARSE_FAILED');
    expect((await run('{ __typename }')).data).toEqual({ __typename: 'Query' });
  });

  it('a circle of fragments is refused', async () => {
    const { errors } = await run('{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }');
    expect(errors[0]?.extensions.code).toBe('GRAPHQL_VALIDATION_FAILED');
  });

  // 1,200 characters that would resolve some 10,000 fields, where an honest document of this length resolves some dozens. Each
  // further level doubles that: at level 16 one such request takes seconds and a gigabyte. Kept this small to fail quickly.
  it('a fragment bomb is refused before it runs', async () => {
    const { data, errors } = await run(bomb(11));
    expect(data).toBeNull();
    expect(errors[0]?.extensions.code).toBe('GRAPHQL_VALIDATION_FAILED');
  });

  it('the same fragments, used as people use them, are answered', async () => {
    const { errors, data } = await run(bomb(2));
    expect(errors).toEqual([]);
    expect(data).toMatchObject({
      conversation: { a: { conversation: { b: { conversation: { id: conversationId } } } } },
    });
  });
});

const SEND_AND_WAIT = 'mutation($i: SendMessageInput!) { a: sendMessage(input: $i) { userMessage { id } } }';
const LIST = `query($ids: [ID!]!) { ${repeat(50, (n) => `a${n}: __typename`)} }`;

/** What somebody sends to keep the server busy, or to learn what is not theirs to know. */
const HOSTILE: Readonly<
  Record<string, { readonly query: string; readonly variables?: () => object; readonly code: string }>
> = {
  'a flood of aliases': {
    query: `{ ${repeat(101, (n) => `a${n}: agents { id }`)} }`,
    code: 'GRAPHQL_VALIDATION_FAILED',
  },
  'a flood of aliases in fragments': {
    query: `{ ...A ...A ...A } fragment A on Query { ${repeat(40, (n) => `a${n}: agents { id }`)} }`,
    code: 'GRAPHQL_VALIDATION_FAILED',
  },
  'a fragment bomb of 2^30 fields': { query: '', code: 'GRAPHQL_VALIDATION_FAILED' },
  'nesting beyond any use': {
    query: `{ conversation(id: "x") { ${'lastMessage { conversation { '.repeat(13)}id${' } }'.repeat(13)} } }`,
    code: 'GRAPHQL_VALIDATION_FAILED',
  },
  'an overload of directives': {
    query: `{ viewer { ${repeat(51, () => 'id @include(if: true)')} } }`,
    code: 'GRAPHQL_VALIDATION_FAILED',
  },
  'directives that are none': {
    query: `{ viewer { id ${repeat(900, () => '@x')} } }`,
    code: 'GRAPHQL_VALIDATION_FAILED',
  },
  'fields that conflict with each other': {
    query: `{ ${repeat(150, (n) => `conversation(id: "${n}") { id }`)} }`,
    code: 'GRAPHQL_VALIDATION_FAILED',
  },
  'a list of a hundred thousand in the variables': {
    query: LIST,
    variables: () => ({ ids: Array.from({ length: 100_000 }, (_, n) => n) }),
    code: 'GRAPHQL_VALIDATION_FAILED',
  },
  'a list of a thousand and one that is used': {
    query: 'query($filter: ConversationFilter) { conversations(filter: $filter) { nodes { id } } }',
    variables: () => ({ filter: { ownerId: Array.from({ length: 1_001 }, () => 'x') } }),
    code: 'BAD_USER_INPUT',
  },
  'pages of pages of pages': {
    query:
      'query($n: Int) { conversations(first: $n) { nodes { messages(first: $n) { nodes { conversation { messages(last: $n) { nodes { id } } } } } } } }',
    variables: () => ({ n: 100 }),
    code: 'COST_LIMIT_EXCEEDED',
  },
  'a page without an end': {
    query: '{ conversations(first: 2147483647) { nodes { id } } }',
    code: 'COST_LIMIT_EXCEEDED',
  },
  'a hundred messages at once': {
    query: SEND_AND_WAIT.replace(
      'a: sendMessage(input: $i) { userMessage { id } }',
      repeat(100, (n) => `a${n}: sendMessage(input: $i) { userMessage { id } }`),
    ),
    variables: () => ({ i: { conversationId, content: 'hello' } }),
    code: 'COST_LIMIT_EXCEEDED',
  },
  'a name that would stand in each of a hundred errors': {
    query: `query ${'N'.repeat(400_000)} { ${repeat(100, (n) => `a: node(id: $b${n}) { id }`)} }`,
    code: 'GRAPHQL_VALIDATION_FAILED',
  },
  'variables that would stand in each of twenty errors': {
    query: 'mutation($i: CreateConversationInput!) { createConversation(input: $i) { conversation { id } } }',
    variables: () => ({ i: { ...Array.from({ length: 30 }, () => 1), title: 'x'.repeat(400_000) } }),
    code: 'BAD_USER_INPUT',
  },
  'the schema': { query: '{ __schema { types { name } } }', code: 'GRAPHQL_VALIDATION_FAILED' },
  'a type of the schema': { query: '{ __type(name: "Query") { name } }', code: 'GRAPHQL_VALIDATION_FAILED' },
  'a name to be corrected': { query: '{ viewr { id } }', code: 'GRAPHQL_VALIDATION_FAILED' },
};

describe('a hostile operation', () => {
  it.each(Object.entries(HOSTILE))(
    '%s is refused with 400, and nothing is read for it',
    async (name, { query, variables, code }) => {
      const document = name.startsWith('a fragment bomb') ? bomb(30) : query;
      await overHttp('{ tenant { id } }'); // the tenant is known
      const requests = await world.requestsOf(async () => {
        const answer = await rawHttp(world.url).post(document, variables?.() ?? {}, {
          ...member(),
          accept: GRAPHQL_RESPONSE,
        });
        expect(answer).toMatchObject({ status: 400, code });
        expect(answer.body.data).toBeUndefined();
        expect(answer.text).not.toMatch(/did you mean/i);
        expect(answer.text.length).toBeLessThan(50_000);
        for (const run of [overSocket, overEvents])
          expect((await run(document, variables?.() ?? {})).errors[0]?.extensions.code).toBe(code);
      });
      expect(requests).toEqual([]);
    },
  );

  it.each<[string, RawRequest, number]>([
    [
      'a body that nests without end',
      { body: `{"query":"{ __typename }","variables":{"a":${'['.repeat(200_000)}${']'.repeat(200_000)}}}` },
      200,
    ],
    ['a body of lies about its length', { body: '{"query"', headers: { 'content-type': 'application/json' } }, 400],
    ['a batch of a thousand', { body: Array.from({ length: 1_000 }, () => ({ query: '{ viewer { id } }' })) }, 400],
    [
      'automatic registration of a document',
      {
        body: {
          query: '{ agents { id } }',
          extensions: { persistedQuery: { version: 1, sha256Hash: 'a'.repeat(64) } },
        },
      },
      400,
    ],
  ])('%s', async (_name, request, status) => {
    const requests = await world.requestsOf(async () => {
      const answer = await rawHttp(world.url).send({
        ...request,
        headers: { ...member(), accept: GRAPHQL_RESPONSE, ...request.headers },
      });
      expect(answer.status).toBe(status);
    });
    expect(requests).toEqual([]);
  });

  it('with a name of any length takes 250 characters of the log, and is told which limit it broke', async () => {
    expect((await overHttp(`query ${'N'.repeat(251)} { __typename }`)).errors[0]?.message).toBe(
      'A name in the document has more than 250 characters.',
    );
    const { log, lines } = captureLog();
    const operation = { type: 'none', runAs: null, transport: 'ws', durationMs: 0, errorCodes: [] } as const;
    const context = { identity: { principal: null }, namedTenant: null } as unknown as RequestContext;
    createOperationLog(log)(context, { ...operation, name: 'N'.repeat(400_000) });
    expect(lines[0]?.operation?.name).toHaveLength(250);
  });

  it('two hundred of them leave nothing behind: the heap is what it was', async () => {
    const flood = async (count: number) => {
      for (let n = 0; n < count; n++) await overHttp(bomb(20 + (n % 10)));
      globalThis.gc?.();
      return process.memoryUsage().heapUsed;
    };
    const before = await flood(50);
    expect((await flood(150)) - before).toBeLessThan(64 * 1024 * 1024);
  });
});

it('APQ is not supported, over either transport, and says so', async () => {
  const extensions = { persistedQuery: { version: 1, sha256Hash: 'a'.repeat(64) } };
  const answer = await rawHttp(world.url).send({ body: { extensions }, headers: member() });
  expect(answer.code).toBe('PERSISTED_QUERY_NOT_SUPPORTED');
  const socket = await openSocket(world.wsUrl);
  await socket.init(member());
  socket.send({ type: 'subscribe', id: '1', payload: { query: '', extensions } });
  expect((await socket.next()).payload[0].extensions.code).toBe('PERSISTED_QUERY_NOT_SUPPORTED');
  socket.socket.close();
});

describe('administrators and operators', () => {
  it.each(['admin', 'operator'] as const)(
    '%s may read the schema, and is told what a name could have been',
    async (who) => {
      const { token } = who === 'admin' ? world.acme.admin : world.operator;
      const caller = world.caller(token);
      expect((await caller.run('{ __schema { queryType { name } } }')).data).toEqual({
        __schema: { queryType: { name: 'Query' } },
      });
      expect((await caller.run('{ viewr { id } }')).errors[0]?.message).toContain('Did you mean "viewer"?');
      const socket = await openSocket(world.wsUrl);
      await socket.init({ authorization: `Bearer ${token}` });
      socket.subscribe('1', '{ __type(name: "Query") { name } }');
      expect((await socket.next()).payload.data).toEqual({ __type: { name: 'Query' } });
      socket.socket.close();
    },
  );

  it('nobody else may, whatever they asked before', async () => {
    expect((await world.acme.admin.run('{ __schema { queryType { name } } }')).errors).toEqual([]);
    expect((await world.acme.member.run('{ __schema { queryType { name } } }')).data).toBeUndefined();
    expect((await world.nobody.run('{ __schema { queryType { name } } }')).data).toBeUndefined();
  });
});

it('who has not signed in is told so before anything else, however much they ask for', async () => {
  const query = '{ conversations(first: 100) { nodes { id lastMessage { id } } } }';
  expect(await world.nobody.run(query)).toMatchObject({ status: 401, code: 'UNAUTHENTICATED' });
  expect(await world.caller('not.a.token').run(query)).toMatchObject({ status: 401, code: 'UNAUTHENTICATED' });
});

it('one operation waits for one answer', async () => {
  const id = await world.acme.member.createConversation();
  const { data, errors } = await world.acme.member.run(
    `mutation($i: SendMessageInput!) { a: sendMessage(input: $i) { assistantMessage { status } } b: sendMessage(input: $i) { assistantMessage { status } } }`,
    { i: { conversationId: id, content: 'hello', waitForCompletion: true } },
  );
  expect(errors.map(({ extensions }) => [extensions.code, extensions['field']])).toEqual([
    ['BAD_USER_INPUT', 'waitForCompletion'],
  ]);
  expect(data).toBeNull();
  expect(
    (await world.acme.member.run(`{ conversation(id: "${id}") { messageCount } }`)).data.conversation.messageCount,
  ).toBe(2);
});

it('errors of one request are the same over HTTP, over a socket and as events', async () => {
  const requests: readonly [string, object?][] = [
    ['{'],
    ['{ viewr { id } }'],
    ['query($id: ID!) { conversation(id: $id) { id } }'],
    ['mutation($i: SendMessageInput!) { sendMessage(input: $i) { userMessage { id } } }', { i: { content: 1 } }],
    ['query A { viewer { id } } query B { viewer { id } }'],
    ['{ conversations(first: 0) { nodes { id } } }'],
    ['mutation { deleteConversation(input: { conversationId: "x" }) { deletedConversationId } }'],
    ['{ tenant { limits { nope } } }'],
    ['{ message(id: 1.5) { id } }'],
  ];
  const codes = async (run: typeof overHttp) =>
    Promise.all(
      requests.map(async ([query, variables]) => {
        const { errors } = await run(query, variables);
        return `${query}: ${errors.map(({ extensions }) => extensions.code).join()}`;
      }),
    );
  const overPlainHttp = await codes(overHttp);
  expect(await codes(overSocket)).toEqual(overPlainHttp);
  expect(await codes(overEvents)).toEqual(overPlainHttp);
});
