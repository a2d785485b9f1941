import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CALLERS, gateOf, permissionsPage, reachOf, type CallerKind, type Gate } from '../support/permissions.ts';
import { PLAIN } from '../support/plain-values.ts';
import { rawHttp } from '../support/raw-http.ts';
import { actingIn, NO_CONVERSATION, NO_MESSAGE } from '../support/refusals.ts';
import { attacksOn, rootFields, viewOperations, type WalkOperation } from '../support/schema-walk.ts';
import { startWorld, testConfig, type Caller, type World } from '../support/world.ts';

/** What the directives refuse with. A service may say FORBIDDEN too, where the schema cannot: those are in the table. */
const REFUSALS: readonly string[] = ['UNAUTHENTICATED', 'FORBIDDEN', 'TENANT_REQUIRED', 'TENANT_INVALID'];
/** Their callers' sessions are over afterwards. */
const LAST = ['Mutation.signOut', 'Mutation.signOutEverywhere'];
/** They say UNAUTHENTICATED of what they are given, not of who gives it; all but the last one are open to everybody. */
const OPEN_WITH_CREDENTIALS = ['Mutation.signIn', 'Mutation.refreshSession', 'Mutation.acceptInvitation'];
const TAKE_CREDENTIALS = [...OPEN_WITH_CREDENTIALS, 'Mutation.changePassword'];
const NO_USER = 'user-01ARZ3NDEKTSV4RRFFQ69G5FAV';
const MALFORMED = 'no id at all';

type Kind = 'colleague’s' | 'another tenant’s' | 'removed' | 'of the right form' | 'malformed';
type Ids = Readonly<Record<Kind, readonly string[]>>;

let world: World;
let callers: Readonly<Record<CallerKind, Caller>>;
/** Ids of conversations and messages that a member may not see. */
let hidden: Ids;

async function aConversation(who: Caller): Promise<readonly [string, string]> {
  const id = await who.createConversation();
  const { data } = await who.ask(id, 'What is it?');
  return [id, data.sendMessage.assistantMessage.id as string];
}

const deleting = (id: string): string =>
  `mutation { deleteConversation(input: { conversationId: "${id}" }) { deletedConversationId } }`;

beforeAll(async () => {
  const { operationLimits } = testConfig();
  const everything = { nobody: 1e9, member: 1e9, partner: 1e9, admin: 1e9, operator: 1e9 };
  world = await startWorld({
    config: { operationLimits: { ...operationLimits, ceilings: everything, pointsPerMinute: null } },
  });
  const { acme, globex, operator, nobody } = world;
  const partner = await world.createPartner(acme.admin);
  callers = {
    nobody,
    MEMBER: acme.member,
    PARTNER: partner,
    TENANT_ADMIN: acme.admin,
    operator,
    'operator in a tenant': actingIn(world, 'acme'),
  };
  const removed = await aConversation(acme.admin);
  const [colleagues, foreign] = await Promise.all([acme.admin, globex.member].map(aConversation));
  await Promise.all([acme.member, partner].map(aConversation));
  expect((await acme.admin.run(deleting(removed[0]))).errors).toEqual([]);
  hidden = {
    'colleague’s': colleagues!,
    'another tenant’s': foreign!,
    removed,
    'of the right form': [NO_CONVERSATION, NO_MESSAGE],
    malformed: [MALFORMED, MALFORMED],
  };
});
afterAll(() => world.stop());

interface Told {
  readonly data: unknown;
  readonly errors: readonly {
    readonly extensions: Readonly<Record<string, unknown>>;
    readonly path?: readonly unknown[];
  }[];
}

async function send(who: Caller, { root, query, variables }: WalkOperation): Promise<Told> {
  if (!root.startsWith('Subscription')) return who.run(query, variables);
  const events = who.stream(query, variables);
  try {
    const { value } = (await events.next()) as { value?: Partial<Told> };
    return { data: value?.data, errors: value?.errors ?? [] };
  } catch (errors) {
    if (!Array.isArray(errors)) throw errors;
    return { data: null, errors: errors as Told['errors'] };
  } finally {
    await events.return?.(undefined);
  }
}

/** What the root field itself refuses a caller with; a field inside it may need more than it. */
async function gateMet(caller: CallerKind, root: string): Promise<Gate> {
  const { errors } = await send(callers[caller], harmless(root));
  const [refusal] = errors
    .filter(({ path }) => (path?.length ?? 0) <= 1)
    .map(({ extensions }) => String(extensions['code']))
    .filter((code) => REFUSALS.includes(code));
  const ofWhatIsGiven = refusal === 'UNAUTHENTICATED' && caller !== 'nobody' && TAKE_CREDENTIALS.includes(root);
  const open = refusal === undefined || ofWhatIsGiven || (caller === 'nobody' && OPEN_WITH_CREDENTIALS.includes(root));
  return open ? 'open' : (refusal as Gate);
}

/** A call of a root field that names nothing there is. */
function harmless(root: string): WalkOperation {
  const [operation] = attacksOn(root, [], { id: [NO_USER], cursor: ['x'], token: ['rt.acme.x.y.z'] }, PLAIN);
  return operation!;
}

describe.each(CALLERS)('what %s may ask', (caller) => {
  it('is what the table says, root field by root field', async () => {
    const roots = rootFields.filter(({ name }) => !LAST.includes(name));
    const expected = roots.map(({ name, field }) => [name, gateOf(name, field, caller)]);
    const observed: [string, Gate][] = [];
    for (const { name } of roots) observed.push([name, await gateMet(caller, name)]);
    expect(observed).toEqual(expected);
  });

  it('shows nothing that the table does not', async () => {
    const reach = reachOf(caller);
    const seen = new Set<string>();
    const look = (value: unknown): void => {
      if (Array.isArray(value)) return value.forEach(look);
      if (typeof value !== 'object' || value === null) return;
      const { __typename: type, ...fields } = value as Record<string, unknown> & { __typename?: string };
      for (const [alias, child] of Object.entries(fields)) {
        if (type !== undefined && child !== null) seen.add(`${type}.${alias.replace(`${type}_`, '')}`);
        look(child);
      }
    };
    for (const operation of viewOperations(PLAIN)) look((await send(callers[caller], operation)).data);
    expect([...seen].filter((field) => !reach.has(field))).toEqual([]);
    expect(seen.size === 0).toBe(caller === 'nobody');
  });
});

describe('what may not be seen', () => {
  const slots = rootFields.filter(({ field }) => field.args.length > 0).map(({ name }) => name);
  /** Everything that an answer says, without the id that was asked for. */
  async function said(who: Caller, operation: WalkOperation, ids: readonly string[]) {
    const { data, errors } = await send(who, operation);
    const text = JSON.stringify([data, errors.map(({ extensions, ...error }) => [error, extensions['code']])]);
    return [...ids].reduce((told, id) => told.replaceAll(id, '<id>'), text);
  }

  it.each(['MEMBER', 'PARTNER'] as const)(
    'looks to a %s like what does not exist, by every argument',
    async (caller) => {
      const differing: string[] = [];
      let asked = 0;
      for (const root of slots) {
        for (const which of [0, 1]) {
          const answers = new Map<string, Set<string>>();
          for (const [kind, ids] of Object.entries(hidden)) {
            const baits = { id: [ids[which]!], cursor: [], token: [] };
            const targeted = attacksOn(root, [], baits, PLAIN).filter(
              ({ target }) => target !== null && target.startsWith(`${root}(`) && target !== `${root}()`,
            );
            for (const [n, operation] of targeted.entries()) {
              const key = `${operation.target} ${n}`;
              const text = await said(callers[caller], operation, ids);
              asked++;
              // What no id can be may be said to be that.
              if (kind === 'malformed' && text.includes('BAD_USER_INPUT')) continue;
              answers.set(key, (answers.get(key) ?? new Set()).add(text));
            }
          }
          for (const [key, texts] of answers) if (texts.size > 1) differing.push(`${key}: ${[...texts].join(' / ')}`);
        }
      }
      expect(differing).toEqual([]);
      expect(asked).toBeGreaterThan(100);
    },
  );
});

describe('what is a colleague’s', () => {
  const READS = ['conversation', 'message', 'node', 'node of a message', 'conversations', 'messageStream'] as const;
  async function readsOf(who: Caller, [id, messageId]: readonly [string, string]): Promise<readonly string[]> {
    const { data } = await who.run(`{
      conversation(id: "${id}") { id } message(id: "${messageId}") { id } node(id: "${id}") { id }
      ofMessage: node(id: "${messageId}") { id } conversations(first: 100) { nodes { id } }
    }`);
    const shown = [data.conversation, data.message, data.node, data.ofMessage].map((each) => each !== null);
    const listed = (data.conversations.nodes as { id: string }[]).some((node) => node.id === id);
    const query = `subscription { messageStream(messageId: "${messageId}") { sequence } }`;
    const stream = await send(who, { root: 'Subscription.messageStream', query, variables: {} } as WalkOperation);
    const seen = [...shown, listed, stream.errors.length === 0];
    return READS.filter((_, n) => seen[n]);
  }
  const codesOf = async (who: Caller, [id, messageId]: readonly [string, string]) => {
    const calls = [
      `renameConversation(input: { conversationId: "${id}", title: "Mine" }) { conversation { id } }`,
      `sendMessage(input: { conversationId: "${id}", content: "Hello" }) { conversation { id } }`,
      `cancelMessage(input: { messageId: "${messageId}" }) { message { id } }`,
    ];
    const answers = [];
    for (const call of calls) answers.push((await who.run(`mutation { ${call} }`)).code ?? 'done');
    return answers;
  };

  it('is read by administrators and acting operators, by every way, and by nobody else by any', async () => {
    const { MEMBER, PARTNER, TENANT_ADMIN, 'operator in a tenant': acting } = callers;
    const [members, partners] = [await aConversation(MEMBER), await aConversation(PARTNER)];
    for (const each of [members, partners])
      for (const who of [TENANT_ADMIN, acting]) expect(await readsOf(who, each)).toEqual(READS);
    expect([await readsOf(MEMBER, members), await readsOf(PARTNER, partners)]).toEqual([READS, READS]);
    expect([await readsOf(MEMBER, partners), await readsOf(PARTNER, members)]).toEqual([[], []]);
  });

  it('is changed by nobody, and deleted by administrators and acting operators', async () => {
    const { MEMBER, PARTNER, TENANT_ADMIN, 'operator in a tenant': acting } = callers;
    for (const who of [TENANT_ADMIN, acting]) {
      const members = await aConversation(MEMBER);
      expect(await codesOf(PARTNER, members)).toEqual(['NOT_FOUND', 'NOT_FOUND', 'NOT_FOUND']);
      expect(await codesOf(who, members)).toEqual(['FORBIDDEN', 'FORBIDDEN', 'FORBIDDEN']);
      expect((await PARTNER.run(deleting(members[0]))).code).toBe('NOT_FOUND');
      expect((await who.run(deleting(members[0]))).errors).toEqual([]);
    }
  });
});

describe('exports', () => {
  it.each([
    ['/exports/usage', 'createUsageExport'],
    ['/exports/audit', 'createAuditExport'],
    ['/exports/tenant', 'createTenantExport'],
  ])('%s is for those who may %s', async (path, mutation) => {
    const { name, field } = rootFields.find((root) => root.name === `Mutation.${mutation}`)!;
    const period = '?start=2026-11-01T00:00:00Z&end=2026-11-02T00:00:00Z';
    for (const caller of CALLERS) {
      const { code } = await rawHttp(world.url).get(
        path + (path.endsWith('tenant') ? '' : period),
        callers[caller].headers,
      );
      expect([caller, code ?? 'open']).toEqual([caller, gateOf(name, field, caller)]);
    }
  });
});

it('docs/permissions.md says so (npm run permissions writes it)', async () => {
  await expect(permissionsPage()).toMatchFileSnapshot('../../docs/permissions.md');
});

it('signing out is for whoever is signed in', async () => {
  for (const root of rootFields.filter(({ name }) => LAST.includes(name)))
    for (const caller of CALLERS)
      expect([caller, root.name, await gateMet(caller, root.name)]).toEqual([
        ...[caller, root.name, gateOf(root.name, root.field, caller)],
      ]);
});
