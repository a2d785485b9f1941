import { buildSchema, getOperationAST, parse } from 'graphql';
import { describe, expect, it } from 'vitest';
import { createCostAnalysis } from '../../src/server/operations/cost.ts';
import { readTypeDefs } from '../../src/server/schema.ts';
import { weightFaults } from '../../src/server/operations/weights.ts';

const DIRECTIVES = readTypeDefs()
  .join('\n')
  .match(/directive @(cost|listSize)[^]*?(?=\n\n|$)/g)!
  .join('\n');

function costsOf(typeDefs: string) {
  const analyse = createCostAnalysis(buildSchema(`${DIRECTIVES}\n${typeDefs}`));
  return (query: string, variables: Record<string, unknown> = {}) => {
    const document = parse(query);
    return analyse(document, getOperationAST(document)!, variables);
  };
}

describe('the examples of the cost directive specification', () => {
  it('1 and 2: five users with an age of weight 2 have a field cost of 11', () => {
    const cost = costsOf(`
      type User { name: String age: Int @cost(weight: "2.0") }
      type Query { users(max: Int): [User] @listSize(slicingArguments: ["max"]) }`);
    expect(cost('query Example { users(max: 5) { age } }')).toEqual({ fieldCost: 11, typeCost: 6 });
  });

  it('10: an argument adds its weight where it is given', () => {
    const cost = costsOf(`
      input Filter { word: String }
      type Query {
        topProducts(filter: Filter @cost(weight: "15.0")): [String] @cost(weight: "5.0") @listSize(assumedSize: 10)
      }`);
    expect(cost('{ topProducts }').fieldCost).toBe(5);
    expect(cost('{ topProducts(filter: { word: "x" }) }').fieldCost).toBe(20);
    expect(cost('query($f: Filter) { topProducts(filter: $f) }', { f: { word: 'x' } }).fieldCost).toBe(20);
  });

  it('11: a negative weight makes a field cheaper, and never less than nothing', () => {
    const cost = costsOf(`
      input Approximate { tolerance: Float }
      type Product { id: ID }
      type Query {
        mostPopularProduct(approx: Approximate @cost(weight: "-3.0")): Product @cost(weight: "5.0")
        cheap(approx: Approximate @cost(weight: "-3.0")): Product
      }`);
    expect(cost('{ mostPopularProduct { id } }').fieldCost).toBe(5);
    expect(cost('{ mostPopularProduct(approx: { tolerance: 1 }) { id } }').fieldCost).toBe(2);
    expect(cost('{ cheap(approx: { tolerance: 1 }) { id } }').fieldCost).toBe(0);
  });

  it('12: input fields count within their argument', () => {
    const cost = costsOf(`
      input Approximate { tolerance: Float }
      input Filter { approx: Approximate @cost(weight: "-12.0") }
      type Query {
        topProducts(filter: Filter @cost(weight: "15.0")): [String] @cost(weight: "5.0") @listSize(assumedSize: 10)
      }`);
    expect(cost('{ topProducts(filter: { approx: { tolerance: 1 } }) }').fieldCost).toBe(8);
  });

  it('13: arguments of directives count too', () => {
    const cost = costsOf(`
      directive @approx(tolerance: Float! @cost(weight: "-1.0")) on FIELD
      type Query { slow: Int @cost(weight: "4") }`);
    expect(cost('{ slow }').fieldCost).toBe(4);
    expect(cost('{ slow @approx(tolerance: 2) }').fieldCost).toBe(3);
  });

  it('18: the size of a connection is that of the lists in it', () => {
    const cost = costsOf(`
      type Film { title: String }
      type FilmEdge { cursor: ID node: Film }
      type FilmConnection { edges: [FilmEdge] }
      type Query {
        films(first: Int, after: ID, last: Int, before: ID): FilmConnection
          @listSize(slicingArguments: ["first", "last"], sizedFields: ["edges"])
      }`);
    expect(cost('{ films(first: 7) { edges { cursor node { title } } } }')).toEqual({
      fieldCost: 2 + 7,
      typeCost: 2 + 14,
    });
    for (const query of ['{ films { edges { cursor } } }', '{ films(first: 1, last: 1) { edges { cursor } } }'])
      expect(() => cost(query)).toThrow('Give exactly one of first, last.');
  });
});

describe('sizes and shapes', () => {
  const cost = costsOf(`
    interface Node { id: ID! owner: Item }
    type Item implements Node { id: ID! owner: Item @cost(weight: "3") items(first: Int = 4, last: Int): [Item!]!
      @listSize(slicingArguments: ["first", "last"], requireOneSlicingArgument: false) }
    type Dear implements Node @cost(weight: "9") { id: ID! owner: Item }
    union Any = Item | Dear
    input Row { name: String inner: [Row!] }
    type Query { node: Node any: Any item: Item items(first: Int): [Item!]!
      @listSize(assumedSize: 20, slicingArguments: ["first"], requireOneSlicingArgument: false) }
    type Mutation { add(rows: [Row!]!): Int }`);

  it('an interface and a union cost what their dearest object costs', () => {
    expect(cost('{ node { owner { id } } }')).toEqual({ fieldCost: 1 + 3, typeCost: 1 + 9 + 1 });
    expect(cost('{ any { __typename ... on Item { owner { id } } } }')).toEqual({
      fieldCost: 1 + 3,
      typeCost: 1 + 9 + 1,
    });
  });

  it('a size is taken from variables, their defaults, those of arguments, or the assumed size; of several the largest', () => {
    const sized = (query: string, variables = {}) => cost(query, variables).typeCost - 1;
    expect(sized('query($n: Int) { items(first: $n) { id } }', { n: 3 })).toBe(3);
    expect(sized('{ items { id } }')).toBe(20);
    expect(sized('{ items(first: -5) { id } }')).toBe(0);
    expect(sized('{ item { items { id } } }')).toBe(1 + 4);
    expect(sized('{ item { items(last: 9) { id } } }')).toBe(1 + 9);
    expect(sized('{ items(first: 10) { items(first: 10) { items(first: 10) { id } } } }')).toBe(10 + 100 + 1_000);
  });

  it('every object of a list in the input counts', () => {
    const query = 'mutation($rows: [Row!]!) { add(rows: $rows) }';
    expect(cost(query, { rows: [{ name: 'a' }, { inner: [{}, {}] }] }).fieldCost).toBe(4);
    expect(cost(query, { rows: Array.from({ length: 500 }, () => ({})) }).fieldCost).toBe(500);
  });

  it('what the variables leave out costs nothing', () => {
    const query =
      'query($with: Boolean!) { items(first: 100) @include(if: $with) { id } item @skip(if: $with) { id } }';
    expect(cost(query, { with: true }).typeCost).toBe(101);
    expect(cost(query, { with: false }).typeCost).toBe(2);
  });

  it('a fragment bomb of 2^30 is counted to the end, each fragment once', () => {
    const bomb = Array.from({ length: 30 }, (_, n) => `fragment F${n} on Item { ...F${n + 1} ...F${n + 1} }`).join(' ');
    const { typeCost } = cost(`{ item { ...F0 } } ${bomb} fragment F30 on Item { owner { id } }`);
    expect(typeCost).toBe(2 + 2 ** 30);
  });
});

describe('a schema the server refuses to start with', () => {
  const faultsOf = (typeDefs: string) => weightFaults(buildSchema(`${DIRECTIVES}\n${typeDefs}`));

  it.each([
    ['type Query { xs: [Int] }', 'Query.xs is a list without a @listSize'],
    ['type Query { xs: [Int] @listSize }', 'Query.xs has a @listSize without any size'],
    ['type Query { x: Int @listSize(assumedSize: 1) }', 'Query.x has a @listSize, but is no list'],
    [
      'type Query { xs(n: String): [Int] @listSize(slicingArguments: ["n"]) }',
      'Query.xs is sliced by n, which is no Int',
    ],
    ['type P { xs: [Int] } type Query { p: P }', 'P.xs is a list without a @listSize'],
    [
      'type P { xs: [Int] } type Query { p: P @listSize(assumedSize: 1, sizedFields: ["xs"]) q: P }',
      'P.xs is a list without a @listSize',
    ],
    [
      'type P { x: Int } type Query { p: P @listSize(assumedSize: 1, sizedFields: ["x"]) }',
      'sizes P.x, which is no list',
    ],
    ['type Query { x: Int @cost(weight: "much") }', 'Query.x has a @cost that is no number'],
    ['interface I { x: Int @cost(weight: "1") } type Query { x: Int }', 'I.x has a @cost on an interface'],
  ])('%s', (typeDefs, fault) => {
    expect(faultsOf(typeDefs).join('\n')).toContain(fault);
  });

  it('our own has none, and what docs/limits.md says it costs is right', () => {
    const schema = buildSchema(readTypeDefs().join('\n'));
    expect(weightFaults(schema)).toEqual([]);
    const document = parse('{ conversations(first: 10) { nodes { id lastMessage { id } } } }');
    expect(createCostAnalysis(schema)(document, getOperationAST(document)!, {})).toEqual({
      fieldCost: 12,
      typeCost: 22,
    });
  });
});
