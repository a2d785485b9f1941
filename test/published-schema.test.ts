import { readFileSync } from 'node:fs';
import { printSchemaWithDirectives } from '@graphql-tools/utils';
import { buildSchema, lexicographicSortSchema, type GraphQLSchema } from 'graphql';
import { describe, expect, it } from 'vitest';
import { changesBetween, type Release } from '../src/schema-changes/changes.ts';
import { policyFaults } from '../src/schema-changes/policy.ts';
import { CHANGELOG, PUBLISHED, readSchema, RELEASED } from '../src/schema-changes/schemas.ts';
import { buildPlainSchema } from '../src/server/schema.ts';

const published = readSchema(PUBLISHED);
const written = (schema: GraphQLSchema) => printSchemaWithDirectives(lexicographicSortSchema(schema));

it('schema.graphql is the schema that the server has, with its descriptions and what every directive says', () => {
  expect(written(published)).toBe(written(buildPlainSchema()));
  expect(written(published)).toMatch(/SendMessagePayload! @tenantScoped @cost\(weight: "50"\) @audited/);
});

/** A released schema, the one after it, and the day on which it is looked at. */
const BASE = `
  type Query { shop(id: ID, size: Int): Shop  node: Node }
  interface Node { id: ID! }
  type Shop implements Node { id: ID!  name: String  kind: Kind  owner: Owner }
  type Owner { name: String }
  input Filter { text: String }
  enum Kind { BIG SMALL }
  type Mutation { open(filter: Filter): Shop }`;
const changed = (...edits: readonly (readonly [string, string])[]): string =>
  edits.reduce((text, [from, to]) => {
    expect(text).toContain(from);
    return text.replace(from, to);
  }, BASE);
const DAY = '2026-11-30';
const faults = (released: string, current: string, day = DAY) =>
  policyFaults(buildSchema(released), buildSchema(current), day);
const deprecated = (date: string) => `@deprecated(reason: "It was never asked. Removed after ${date}.")`;

describe('what clients were promised', () => {
  it.each([
    ['a field', [' owner: Owner', ''], 'Shop.owner: '],
    ['a field’s type', ['name: String  kind', 'name: Int  kind'], 'Shop.name: '],
    ['an argument', [', size: Int', ''], 'Query.shop(size:): '],
    ['an argument that must be given', ['id: ID,', 'id: ID!,'], 'Query.shop(id:): '],
    ['an enum value', ['BIG SMALL', 'BIG'], 'Kind.SMALL: '],
    ['an input field', ['text: String', 'text: String more: Int!'], 'Filter.more: '],
    ['an interface', [' implements Node', ''], 'Shop: '],
  ] as const)('is not taken away without a warning: %s', async (_what, edit, fault) => {
    const found = await faults(BASE, changed(edit));
    expect(found).not.toEqual([]);
    expect(found.every((text) => text.startsWith(fault))).toBe(true);
  });

  it.each([
    ['a field, and the types reached by it alone', '  owner: Owner', ' owner: Owner', 'type Owner { name: String }'],
    ['an argument', ', size: Int', ', size: Int'],
    ['an enum value', ' SMALL', ' SMALL'],
    ['an input field', 'text: String', 'text: String'],
  ])('may be taken away after its day, and not on it: %s', async (_what, element, text, orphan = '') => {
    const released = changed([element, `${text} ${deprecated('2026-11-29')}`]);
    const gone = changed([element, element === 'text: String' ? 'other: Int' : ''], [orphan, '']);
    expect(await faults(released, gone)).toEqual([]);
    expect(await faults(released, gone, '2026-11-29')).not.toEqual([]);
  });

  it('is not broken by what is new, or deprecated in time', async () => {
    const current = changed(
      [' owner: Owner', ` owner: Owner ${deprecated('2027-02-28')} keeper: Owner`],
      ['BIG', 'BIG HUGE'],
    );
    expect(await faults(BASE, current)).toEqual([]);
  });

  it.each([
    ['no day', '@deprecated(reason: "Never asked.")', 'its reason must end with "Removed after YYYY-MM-DD."'],
    ['no reason', '@deprecated', 'its reason must end with'],
    ['a day that there is not', deprecated('2027-02-30'), 'its reason must end with'],
    [
      'a day less than three months away',
      deprecated('2027-02-27'),
      '2027-02-27 is too early, 2027-02-28 is the first day',
    ],
  ])('a deprecation with %s is refused, of whatever it is', async (_what, directive, fault) => {
    const elements = [' owner: Owner', ', size: Int', ' SMALL', 'text: String'];
    const found = await faults(
      BASE,
      changed(...elements.map((element) => [element, `${element} ${directive}`] as const)),
    );
    expect(found.sort()).toEqual(
      ['Filter.text', 'Kind.SMALL', 'Query.shop(size:)', 'Shop.owner'].map((at) =>
        expect.stringContaining(`${at}: ${fault}`),
      ),
    );
  });

  it('a day that was announced may be put off, and not brought forward', async () => {
    const [soon, late] = ['2027-01-01', '2027-06-01'].map((date) =>
      changed([' owner: Owner', ` owner: Owner ${deprecated(date)}`]),
    );
    expect(await faults(soon!, late!)).toEqual([]);
    expect(await faults(soon!, soon!, '2026-12-31')).toEqual([]);
    expect(await faults(late!, soon!)).toEqual(['Shop.owner: clients were told 2027-06-01, not 2027-01-01']);
  });

  it('holds for the schema as it is', async () => {
    const day = new Date().toISOString().slice(0, 10);
    const broken = await policyFaults(readSchema(RELEASED), published, day);
    // That a deprecation came too late for its day is for `npm run schema:check` to say: no test fails by growing old.
    expect(broken.filter((fault) => !fault.includes('is too early'))).toEqual([]);
  });
});

describe('the changelog', () => {
  it('says of each change its coordinate and whether clients can break', async () => {
    const current = changed(
      [' owner: Owner', ` owner: Owner ${deprecated('2027-06-01')}`],
      [', size: Int', `, size: Int ${deprecated('2027-06-01')}, page: Int = 1`],
      ['BIG', 'BIG HUGE'],
      ['name: String }', '"The one who opened it." name: String phone: String }'],
      ['text: String', ''],
      ['input Filter {', 'input Filter { word: String'],
    );
    const changes = await changesBetween(buildSchema(BASE), buildSchema(current));
    expect(changes.map(({ type, coordinate, level }) => `${level} ${type} ${coordinate}`)).toEqual([
      'BREAKING INPUT_FIELD_REMOVED Filter.text',
      'NON_BREAKING INPUT_FIELD_ADDED Filter.word',
      'DANGEROUS ENUM_VALUE_ADDED Kind.HUGE',
      'NON_BREAKING FIELD_ADDED Owner.phone',
      'DANGEROUS FIELD_ARGUMENT_ADDED Query.shop(page:)',
      'NON_BREAKING DIRECTIVE_USAGE_ARGUMENT_DEFINITION_ADDED Query.shop(size:)',
      'NON_BREAKING FIELD_DEPRECATION_ADDED Shop.owner',
    ]);
  });

  it('is in order, the newest release first, and no release was without changes', () => {
    const releases = JSON.parse(readFileSync(CHANGELOG, 'utf8')) as Release[];
    const dates = releases.map(({ date }) => date);
    expect(dates).toEqual([...dates].sort().reverse());
    expect(releases.filter(({ changes }) => changes.length === 0)).toEqual([]);
  });
});
