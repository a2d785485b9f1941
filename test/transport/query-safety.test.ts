import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rawHttp } from '../support/raw-http.ts';
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

interface Errors {
  readonly errors: readonly { readonly message: string; readonly extensions: { readonly code: string } }[];
  readonly data: unknown;
}

const overHttp = async (query: string, variables: object = {}): Promise<Errors> => {
  const headers = { authorization: `Bearer ${world.acme.member.token}` };
  const { body } = await rawHttp(world.url).post(query, variables, headers);
  return { errors: body.errors ?? [], data: body.data ?? null };
};

const overSocket = async (query: string, variables: object = {}): Promise<Errors> => {
  const socket = await openSocket(world.wsUrl);
  await socket.init({ authorization: `Bearer ${world.acme.member.token}` });
  socket.subscribe('1', query, variables);
  const { type, payload } = await socket.next();
  socket.socket.close();
  return type === 'error'
    ? { errors: payload, data: null }
    : { errors: payload.errors ?? [], data: payload.data ?? null };
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

it('a fragment bomb of 2^30 fields is refused over HTTP', async () => {
  expect((await overHttp(bomb(30))).errors[0]?.extensions.code).toBe('GRAPHQL_VALIDATION_FAILED');
});

it('errors of one request are the same over HTTP and over a socket', async () => {
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
  expect(await codes(overSocket)).toEqual(await codes(overHttp));
});
