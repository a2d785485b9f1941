import { buildSchema, isObjectType } from 'graphql';
import { describe, expect, it, test } from 'vitest';
import { getDirective } from '@graphql-tools/utils';
import { readTypeDefs } from '../../src/server/schema.ts';
import {
  ACCESS_DIRECTIVES,
  fieldsOfSchema,
  startWith,
  unchanged,
  withDirectives,
  withoutDirectives,
} from '../support/policy-schema.ts';

const fields = fieldsOfSchema();
const scoped = fields
  .filter(({ directives }) => directives.includes('tenantScoped'))
  .map(({ coordinate }) => coordinate);
const roots = fields.filter(({ isRoot }) => isRoot).map(({ coordinate }) => coordinate);

/** Starts the server with this added to its schema. */
const startWithMore = (sdl: string) => () => startWith(unchanged(), sdl);
const refused = (...names: readonly string[]) =>
  new RegExp(['breaks the isolation policy', ...names].join('[^]*').replaceAll('.', '\\.'));

describe('the schema as it is', () => {
  it('lets the server start, whether in one text or several', () => {
    expect(() => startWith(unchanged())).not.toThrow();
    expect(() => startWith(...readTypeDefs())).not.toThrow();
  });

  it('marks every type that holds a tenant’s data as @tenantOwned', () => {
    const schema = buildSchema(readTypeDefs().join('\n'));
    // The list of architecture.md, "Tenancy" 3, as far as the types are there.
    const owned = [
      'Conversation',
      'Message',
      'ApiKey',
      'PersistedOperation',
      'AuditEntry',
      'UsageSummary',
      'LiveUsage',
    ];
    const unmarked = owned.filter((name) => {
      const type = schema.getType(name);
      return isObjectType(type) && !getDirective(schema, type, 'tenantOwned');
    });
    expect(unmarked).toEqual([]);
    expect(owned.filter((name) => schema.getType(name))).toEqual(
      expect.arrayContaining(['Conversation', 'Message', 'UsageSummary']),
    );
  });
});

describe('the server refuses to start', () => {
  test.each(scoped)('without @tenantScoped on %s', (coordinate) => {
    expect(() => startWith(withoutDirectives(coordinate, ['tenantScoped']))).toThrow(refused(coordinate));
  });

  test.each(roots)('without any access directive on %s', (coordinate) => {
    expect(() => startWith(withoutDirectives(coordinate, ACCESS_DIRECTIVES))).toThrow(
      refused(`${coordinate} has none of @tenantScoped, @hasRole, @public`),
    );
  });

  test.each(scoped.filter((coordinate) => roots.includes(coordinate)))(
    'with @public in the place of @tenantScoped on %s, where it shows what a tenant owns',
    (coordinate) => {
      const opened = withDirectives(coordinate, (directives) =>
        directives
          .filter(({ name }) => name.value !== 'hasRole')
          .map((directive) =>
            directive.name.value === 'tenantScoped'
              ? { ...directive, name: { ...directive.name, value: 'public' } }
              : directive,
          ),
      );
      // A tenant itself, its agents, a link and the id of what was deleted are not owned: their resolvers get no store then, which is the compiler's part.
      const harmless = [
        'Query.tenant',
        'Query.agents',
        'Mutation.deleteConversation',
        'Mutation.createAuditExport',
        'Mutation.createTenantExport',
        'Mutation.createUsageExport',
        'Mutation.updateTenant',
        'Mutation.changePassword',
        'Mutation.unpublishOperations',
      ];
      if (harmless.includes(coordinate)) expect(() => startWith(opened)).not.toThrow();
      else expect(() => startWith(opened)).toThrow(refused(`without @tenantScoped`));
    },
  );

  test.each(['TENANT_ADMIN', 'MEMBER', 'PARTNER'])('with a root field that admits a %s outside any tenant', (role) => {
    const sdl = `extend type Query { figures: Int @hasRole(anyOf: [PLATFORM_OPERATOR, ${role}]) }`;
    expect(startWithMore(sdl)).toThrow(refused('Query.figures admits a role of a tenant, but is not @tenantScoped'));
  });

  test.each(['Mutation', 'Subscription'])('with a field of %s that only is called viewer', (type) => {
    const sdl = `extend type ${type} { viewer: Viewer! @hasRole(anyOf: [MEMBER]) }`;
    expect(startWithMore(sdl)).toThrow(refused(`${type}.viewer admits a role of a tenant`));
  });

  const OPERATOR = '@hasRole(anyOf: [PLATFORM_OPERATOR])';
  test.each([
    ['a root field', `extend type Query { latest: Conversation ${OPERATOR} }`, 'Query.latest'],
    ['a public root field', `extend type Query { latest: Conversation @public }`, 'Query.latest'],
    ['a mutation', `extend type Mutation { take: Message ${OPERATOR} }`, 'Mutation.take'],
    ['a subscription', `extend type Subscription { all: Message ${OPERATOR} }`, 'Subscription.all'],
    ['a list', `extend type Query { all: [[Message!]!] ${OPERATOR} }`, 'Query.all'],
    ['a connection', `extend type Query { all: ConversationConnection ${OPERATOR} }`, 'ConversationEdge.node'],
    [
      'a payload',
      `type Found { it: Found2 } type Found2 { message: Message } extend type Query { found: Found @public }`,
      'Found2.message',
    ],
    ['a field of a tenant, which anybody sees', `extend type Tenant { latest: Conversation }`, 'Tenant.latest'],
    ['a field of an agent', `extend type Agent { answers: [Message!]! }`, 'Agent.answers'],
    ['a field of the viewer', `extend type Viewer { conversations: [Conversation!]! }`, 'Viewer.conversations'],
    ['a field of a session', `extend type Session { usage: UsageSummary }`, 'Session.usage'],
    ['a union', `union Hit = Agent | Message extend type Query { search: [Hit!]! ${OPERATOR} }`, 'Query.search'],
    [
      'a union inside a type',
      `union Hit = Agent | Message type Hits { all: [Hit!]! } extend type Query { search: Hits @public }`,
      'Hits.all',
    ],
    ['the interface Node', `extend type Query { anything: Node ${OPERATOR} }`, 'Query.anything'],
    [
      'an interface of its own',
      `interface Titled { title: String! } extend type Conversation implements Titled extend type Query { titled: Titled ${OPERATOR} }`,
      'Query.titled',
    ],
    [
      'an interface of an interface',
      `interface Base { id: ID! } interface Deep implements Base { id: ID! } extend type Message implements Base & Deep extend type Query { base: Base @public }`,
      'Query.base',
    ],
    [
      'a type behind an interface that is not owned itself',
      `interface Box { id: ID! } type Letterbox implements Box { id: ID! letter: Message } extend type Query { box: Box @public }`,
      'Letterbox.letter',
    ],
    [
      'a new owned type',
      `type Secret @tenantOwned { id: ID! } extend type Query { secret: Secret ${OPERATOR} }`,
      'Query.secret',
    ],
    [
      'a type that an extension says is owned',
      `type Secret { id: ID! } extend type Secret @tenantOwned extend type Query { secret: Secret @public }`,
      'Query.secret',
    ],
  ])('with an owned type in reach of anybody through %s', (_way, sdl, coordinate) => {
    expect(startWithMore(sdl)).toThrow(refused(`${coordinate} reaches`, 'without @tenantScoped'));
  });

  const mutations = roots.filter((coordinate) => coordinate.startsWith('Mutation.'));
  test.each(mutations)('without @audited on %s', (coordinate) => {
    expect(() => startWith(withoutDirectives(coordinate, ['audited']))).toThrow(
      refused(`${coordinate} is a mutation without @audited`),
    );
  });

  test.each([
    ['an action that is no name', 'action: "Delete it", resource: "thing"', 'is not written like'],
    ['an id that is not there', 'action: "thing.do", resource: "thing/{input.id}"', 'nothing at `input.id`'],
    ['a result that has no such field', 'action: "thing.do", resource: "thing/{result.id}"', 'nothing at `result.id`'],
    ['what somebody wrote', 'action: "thing.do", resource: "thing", details: ["text"]', 'is a String'],
    ['a trail nobody names', 'action: "thing.do", resource: "thing", tenant: "slug"', 'nothing at `slug`'],
  ])('with a mutation whose audit entry would hold %s', (_what, args, fault) => {
    const sdl = `extend type Mutation { do(text: String): Boolean @public @audited(${args}) }`;
    expect(startWithMore(sdl)).toThrow(refused('Mutation.do', fault));
  });

  it('and tells every fault at once', () => {
    const sdl = `extend type Query { one: Int two: Conversation @public three: Int @hasRole(anyOf: [MEMBER]) }`;
    expect(startWithMore(sdl)).toThrow(refused('Query.one', 'Query.three', 'Query.two'));
  });
});

describe('the server starts', () => {
  test.each([
    ['a scoped root field', `extend type Query { latest: Conversation @tenantScoped }`],
    [
      'a field only operators may call, outside any tenant',
      `extend type Query { size: Int @hasRole(anyOf: [PLATFORM_OPERATOR]) }`,
    ],
    [
      'a type behind a scoped field that holds owned ones',
      `type Report { rows: [Message!]! @listSize(assumedSize: 1) } extend type Query { report: Report @tenantScoped }`,
    ],
    ['a way from owned to owned that reads only its own row', `extend type Message { title: String }`],
  ])('with %s', (_what, sdl) => {
    expect(startWithMore(sdl)).not.toThrow();
  });
});
