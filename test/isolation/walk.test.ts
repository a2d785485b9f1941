import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isEnumType } from 'graphql';
import {
  attacksOn,
  baitedValues,
  everyField,
  isBarren,
  placesWithoutValue,
  rootFields,
  schema,
  textsOf,
  viewOperations,
  type Baits,
  type WalkOperation,
} from '../support/schema-walk.ts';
import { KEY, PLAIN, QUESTION } from '../support/plain-values.ts';
import { ENDLESS, follow, startTurn } from '../support/turns.ts';
import { startWorld, testConfig, type Caller, type World } from '../support/world.ts';

/** Somebody with everything that others could ask for. */
interface Victim {
  readonly who: Caller;
  readonly baits: Baits;
  /** What nobody else may ever read. */
  readonly secrets: readonly string[];
  /** All that the victim sees. */
  readonly texts: ReadonlySet<string>;
}

interface Attacker {
  readonly who: Caller;
  readonly victim: Victim;
  /** Ids of what the attacker may see, so that the walk gets further inside. */
  readonly ownIds: readonly string[];
  /** What the attacker may see anyway. */
  readonly texts: ReadonlySet<string>;
}

interface Answer {
  readonly data: unknown;
  readonly errors: readonly {
    readonly extensions: Readonly<Record<string, unknown>>;
    readonly path?: readonly unknown[];
  }[];
}

type Send = (operation: WalkOperation) => Promise<Answer>;

const OWN = `query($ownerId: ID) {
  conversations(filter: { ownerId: $ownerId }) {
    edges { cursor }
    nodes { id title owner { name email } messages { edges { cursor node { id } } } }
  }
  all: conversations { edges { cursor } }
  viewer { tenant { id } }
}`;

interface OwnConversation {
  readonly id: string;
  readonly title: string;
  readonly owner: { readonly name: string; readonly email: string };
  readonly messages: { readonly edges: readonly { readonly cursor: string; readonly node: { readonly id: string } }[] };
}

const SCHEMA_WORDS = Object.values(schema.getTypeMap()).flatMap((type) => [
  type.name,
  ...(isEnumType(type) ? type.getValues().map(({ name }) => name) : []),
]);
const isTelling = (text: string) => text.length >= 4 && !/^\d{4}-\d\d-\d\dT/.test(text) && !SCHEMA_WORDS.includes(text);

const overHttp =
  (who: Caller): Send =>
  ({ query, variables }) =>
    who.run(query, variables);

/** Everything over one socket. Of a stream only the first event is read: there may not be any. */
function overSocket(who: Caller): Send {
  const client = who.socket();
  return async ({ query, variables }) => {
    const results = client.iterate({ query, variables });
    try {
      const { value } = (await results.next()) as { value?: Partial<Answer> };
      return { data: value?.data, errors: value?.errors ?? [] };
    } catch (errors) {
      if (Array.isArray(errors)) return { data: undefined, errors: errors as Answer['errors'] };
      throw errors;
    } finally {
      await results.return?.();
    }
  };
}

/** A few at a time: in order they would take long, all at once they would only wait for each other. */
async function sendAll(send: Send, operations: readonly WalkOperation[]) {
  const answers: { readonly operation: WalkOperation; readonly answer: Answer }[] = [];
  const queue = operations.values();
  const worker = async () => {
    for (const operation of queue) answers.push({ operation, answer: await send(operation) });
  };
  await Promise.all(Array.from({ length: 6 }, worker));
  return answers;
}

/** The audit trail grows with everything that is tried, and names what was tried by the ids that were sent. */
const TRAIL = 'Query.auditLog';

/** All that a caller sees of what is their own. */
async function viewOf(who: Caller) {
  const answers = await Promise.all(
    viewOperations(PLAIN)
      .filter(({ root }) => root !== TRAIL)
      .map(async ({ root, query, variables }) => [root, (await who.run(query, variables)).data] as const),
  );
  return Object.fromEntries(answers);
}

const telling = (view: unknown) => new Set(textsOf(view).filter(isTelling));

/** A conversation that has ended, and one in which an answer is being written and stays so. */
async function fill(who: Caller, name: string) {
  const quiet = await who.createConversation(`The secret plans of ${name}`);
  await who.ask(quiet, QUESTION, { idempotencyKey: KEY });
  const live = await who.createConversation(`What ${name} is asking now`);
  const { answerId } = await startTurn(who, live, ENDLESS);
  const events = follow(who, answerId);
  for (let seen = 0; seen < 2; seen++) await events.next(); // all that it will ever write
  await events.return(undefined);
}

async function victimOf(who: Caller & { readonly id: string; readonly refreshToken: string }): Promise<Victim> {
  const { data } = await who.run(OWN, { ownerId: who.id });
  const conversations: readonly OwnConversation[] = data.conversations.nodes;
  const messages = conversations.flatMap((node) => node.messages.edges);
  const cursorsOf = (edges: readonly { readonly cursor: string }[]) => edges.map(({ cursor }) => cursor);
  const [tag, tenant, user, session = '', ...proofs] = who.refreshToken.split('.');
  const ids = [...conversations.map(({ id }) => id), ...messages.map(({ node }) => node.id), who.id, session];
  const cursor = [
    ...cursorsOf(data.conversations.edges),
    ...cursorsOf(messages),
    // An admin lists everybody's, in a list of its own.
    ...cursorsOf(data.all.edges),
  ];
  const { name, email } = conversations[0]!.owner;
  return {
    who,
    baits: {
      id: [...ids, data.viewer.tenant.id],
      cursor,
      token: [[tag, tenant, user, session, ...proofs.map(({ length }) => 'A'.repeat(length))].join('.')],
    },
    secrets: [...ids, ...cursor, name, email, ...conversations.map(({ title }) => title)],
    texts: telling(await viewOf(who)),
  };
}

let world: World;
let attackers: Readonly<Record<string, Attacker>>;
let before: unknown;

const everybody = () => [world.acme.admin, world.acme.member, world.globex.admin, world.globex.member];
const viewOfAll = () => Promise.all(everybody().map(viewOf));

async function attacker(who: Caller, victim: Victim, userId?: string): Promise<Attacker> {
  const { data } = await who.run(OWN, { ownerId: userId });
  const conversations: readonly OwnConversation[] = data?.conversations?.nodes ?? [];
  const ownIds = conversations.flatMap((node) => [node.id, ...node.messages.edges.map((edge) => edge.node.id)]);
  const texts = telling(await viewOf(who));
  // Whoever belongs to the same tenant knows it.
  const id = victim.baits.id.filter((bait) => bait !== data?.viewer?.tenant?.id);
  return { who, victim: { ...victim, baits: { ...victim.baits, id } }, ownIds: ownIds.slice(0, 3), texts };
}

beforeAll(async () => {
  // Silent answers stay open for as long as the walk takes.
  // What it asks for is everything: more than anybody may ask for at once.
  const { operationLimits } = testConfig();
  const everything = { nobody: 1e9, member: 1e9, partner: 1e9, admin: 1e9, operator: 1e9 };
  world = await startWorld({
    config: {
      bedrockIdleTimeoutMs: 600_000,
      operationLimits: { ...operationLimits, ceilings: everything, pointsPerMinute: null },
    },
  });
  const { acme, globex, operator, nobody } = world;
  await Promise.all([
    fill(acme.admin, 'the admin of Acme'),
    fill(acme.member, 'the member of Acme'),
    fill(globex.admin, 'the admin of Globex'),
    fill(globex.member, 'the member of Globex'),
  ]);
  const member = await victimOf(acme.member);
  const admin = await victimOf(acme.admin);
  attackers = {
    'a member of another tenant': await attacker(globex.member, member, globex.member.id),
    'an admin of another tenant': await attacker(globex.admin, admin, globex.admin.id),
    'a colleague': await attacker(acme.member, admin, acme.member.id),
    'an operator who acts in another tenant': await attacker(operator.with({ 'x-tenant-id': 'globex' }), admin),
    'an operator who acts in no tenant': await attacker(operator, member),
    nobody: await attacker(nobody, member),
  };
  before = await viewOfAll();
}, 60_000);
afterAll(() => world.stop());

/** The codes that tell nothing. */
const REFUSALS = ['NOT_FOUND', 'BAD_USER_INPUT', 'FORBIDDEN'];
const CODES: Readonly<Record<string, readonly string[]>> = {
  'a member of another tenant': REFUSALS,
  'an admin of another tenant': REFUSALS,
  'a colleague': REFUSALS,
  'an operator who acts in another tenant': REFUSALS,
  'an operator who acts in no tenant': ['TENANT_REQUIRED', 'FORBIDDEN'],
  nobody: ['UNAUTHENTICATED'],
};
/** Whose credentials are wrong is told so, by the fields that take any, as long as they are not too many. */
const codesFor = (name: string, root: string): readonly string[] =>
  /signIn|refreshSession|acceptInvitation/.test(root) ? ['UNAUTHENTICATED', 'RATE_LIMITED'] : (CODES[name] ?? []);

/** Mutations that name nobody and hand their caller what is their own: a link to their export, whose contents have tests of their own; settings. */
const GIVES_OWN = [
  'Mutation.createAuditExport()',
  'Mutation.createTenantExport()',
  'Mutation.createUsageExport()',
  'Mutation.setUsageAlertPercentages()',
  'Mutation.setUsageWebhook()',
  // A change without a change shows a tenant to its own administrator.
  'Mutation.updateTenant()',
];
/** What operators are there for: they name any tenant, and see its configuration. Everybody else is refused. */
const FOR_OPERATORS = ['Query.tenants', 'Mutation.createTenant', 'Mutation.setTenantStatus'];

/** Everything that is wrong with an answer to an attacker. */
function faultsOf(name: string, { operation, answer }: { operation: WalkOperation; answer: Answer }): object[] {
  const { victim, texts } = attackers[name]!;
  const { root, target, variables } = operation;
  const mayKnow = (text: string) =>
    (texts.has(text) && !victim.secrets.includes(text)) ||
    (root === TRAIL && Object.values(attackers).some((other) => other.victim.baits.id.includes(text)));
  const sent = JSON.stringify(variables);
  const received = JSON.stringify(answer);
  const codes = answer.errors.map(({ extensions }) => String(extensions['code']));
  const leaked = [...victim.texts, ...victim.secrets].filter(
    (text) => !mayKnow(text) && received.includes(text) && !sent.includes(text),
  );
  const told = GIVES_OWN.includes(target ?? '') ? [] : baitedValues(answer.data).filter((value) => !isBarren(value));
  const unexpected = codes.filter((code) => !codesFor(name, operation.root).includes(code));
  const wrong = leaked.length > 0 || told.length > 0 || unexpected.length > 0;
  return wrong ? [{ target, variables, leaked, told, unexpected, answer: received.slice(0, 400) }] : [];
}

describe.each(Object.keys(CODES))('%s', (name) => {
  const operationsOn = (root: string) => {
    const { victim, ownIds } = attackers[name]!;
    return attacksOn(root, ownIds, victim.baits, PLAIN);
  };
  const isOperator = name.startsWith('an operator');

  it('finds nothing of the victim among what is its own', () => {
    const { victim, texts } = attackers[name]!;
    expect(victim.secrets.filter((secret) => texts.has(secret))).toEqual([]);
  });

  describe.each([
    ['HTTP', overHttp],
    ['WebSocket', overSocket],
  ] as const)('over %s', (transport, over) => {
    const roots = rootFields
      .filter(({ type }) => transport === 'WebSocket' || type !== schema.getSubscriptionType())
      .filter(({ name }) => !isOperator || !FOR_OPERATORS.includes(name));

    it.each(roots.map((root) => root.name))(
      'gets nothing out of %s with ids and cursors of the victim',
      async (root) => {
        const answers = await sendAll(over(attackers[name]!.who), operationsOn(root));
        expect(answers.length).toBeGreaterThan(0);
        expect(answers.flatMap((answer) => faultsOf(name, answer))).toEqual([]);
      },
    );
  });
});

describe('the walk', () => {
  it('knows what to put into every argument of the schema', () => {
    expect(placesWithoutValue(PLAIN)).toEqual([]);
  });

  it('selects every field of the schema', () => {
    const { victim, ownIds } = attackers['a colleague']!;
    const operations = rootFields.flatMap(({ name }) => attacksOn(name, ownIds, victim.baits, PLAIN));
    const selected = new Set(operations.flatMap(({ selects }) => [...selects]));
    expect(everyField.filter((field) => !selected.has(field))).toEqual([]);
  });

  it('gets far enough inside to try a foreign cursor on what is the attacker’s own', async () => {
    const { who, victim, ownIds } = attackers['a member of another tenant']!;
    const operations = attacksOn('Query.conversation', ownIds, victim.baits, PLAIN).filter(
      ({ target }) => target?.startsWith('Conversation.messages') ?? false,
    );
    const answers = await sendAll(overHttp(who), operations);
    const refused = answers.filter(({ answer }) => answer.errors.some(({ path }) => path?.includes('baited')));
    expect(refused.length).toBeGreaterThan(0);
  });

  it('has baits that are right: whoever owns them gets answers to the same queries and subscriptions', async () => {
    // No id of the victim is an agent's: agents belong to the installation. Members see no usage but their own, no list of tenants, users or parked work, no removal of a tenant, and no trail.
    const unfit = [
      'Query.auditLog(after:)',
      'Query.auditLog(filter.actorId:)',
      'Query.conversations(filter.agentId:)',
      'Query.parkedWork(after:)',
      'Query.parkedWork(before:)',
      'Query.tenantRemoval(tenantId:)',
      'Query.tenants(after:)',
      'Query.usageAlerts(after:)',
      'Query.usageTimeSeries(filter.agentId:)',
      'Query.usageTimeSeries(filter.userId:)',
      'Query.users(after:)',
    ];
    const { who, baits } = attackers['a member of another tenant']!.victim;
    const reading = rootFields.filter(({ type }) => type !== schema.getMutationType());
    const operations = reading.flatMap(({ name }) => attacksOn(name, baits.id.slice(0, 3), baits, PLAIN));
    const answers = await sendAll(overSocket(who), operations);
    const targets = new Set(operations.flatMap(({ target }) => target ?? []));
    const answered = answers
      .filter(({ answer }) => baitedValues(answer.data).some((value) => !isBarren(value)))
      .map(({ operation }) => operation.target);
    expect([...targets].filter((target) => !answered.includes(target)).sort()).toEqual(unfit);
  });
});

describe('naming another tenant by x-tenant-id', () => {
  const scoped = rootFields.filter(({ field }) =>
    field.astNode?.directives?.some((directive) => directive.name.value === 'tenantScoped'),
  );

  it.each(scoped.map(({ name }) => name))(
    'is FORBIDDEN for %s, in the same words whether there is such a tenant or not',
    async (root) => {
      const { who, baits } = attackers['a colleague']!.victim;
      const [operation] = attacksOn(root, [], { ...baits, id: baits.id.slice(0, 1) }, PLAIN);
      const said = new Set<string>();
      for (const tenant of ['globex', 'hooli', 'platform', 'no tenant at all!']) {
        const outsider = who.with({ 'x-tenant-id': tenant });
        const sends = [overSocket(outsider), ...(root.startsWith('Subscription') ? [] : [overHttp(outsider)])];
        for (const send of sends) {
          const { errors, data } = await send(operation!);
          expect(isBarren(data)).toBe(true);
          expect(errors.map(({ extensions }) => extensions['code'])).toEqual(['FORBIDDEN']);
          said.add(errors.map((error) => (error as unknown as Error).message).join());
        }
      }
      expect(said.size).toBe(1);
    },
  );
});

describe('after all of this', () => {
  it('nothing has changed for anybody', async () => {
    expect(await viewOfAll()).toEqual(before);
  });

  it('a forged refresh token has ended nobody’s session, though it names the right one', async () => {
    const { errors } = await world.nobody.run(
      `mutation($token: String!) { refreshSession(refreshToken: $token) { accessToken } }`,
      {
        token: world.acme.member.refreshToken,
      },
    );
    expect(errors).toEqual([]);
  });

  it('the owner can do all that the attackers could not', async () => {
    const { who, baits } = attackers['a member of another tenant']!.victim;
    const order = ['renameConversation', 'sendMessage', 'cancelMessage', 'deleteConversation'];
    for (const name of order) {
      const operations = attacksOn(`Mutation.${name}`, [], baits, { ...PLAIN, 'String content': 'Thank you' });
      const minimal = operations.filter(({ variables }) => !JSON.stringify(variables).includes(KEY));
      const answers = [];
      for (const operation of minimal) answers.push(await overHttp(who)(operation));
      expect(answers.some(({ data }) => baitedValues(data).some((value) => !isBarren(value)))).toBe(true);
    }
  });
});
