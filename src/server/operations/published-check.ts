import {
  getNamedType,
  getNullableType,
  GraphQLError,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  Kind,
  parse,
  specifiedRules,
  typeFromAST,
  validate,
  visit,
  type GraphQLInputType,
  type GraphQLSchema,
  type OperationDefinitionNode,
} from 'graphql';
import type { CheckOperation, OperationFindings } from '../../partners/ports.ts';
import { createCostAnalysis } from './cost.ts';
import { DOCUMENT_TOKENS_MAX, documentFaults } from './document-limits.ts';

/** Findings that are remembered: a body is checked once, however often its list is looked at. */
const FINDINGS_KEPT_MAX = 2_000;

/** The least that may stand in a variable that has to be given: an operation that costs too much with that can never be run. */
function leastValue(type: GraphQLInputType): unknown {
  const nullable = getNullableType(type);
  if (isListType(nullable)) return [];
  if (isEnumType(nullable)) return nullable.getValues()[0]?.value;
  if (!isInputObjectType(nullable)) return { Int: 0, Float: 0, Boolean: false }[getNamedType(nullable).name] ?? '';
  const required = Object.values(nullable.getFields()).filter(
    ({ type: fieldType, defaultValue }) => isNonNullType(fieldType) && defaultValue === undefined,
  );
  return Object.fromEntries(required.map((field) => [field.name, leastValue(field.type)]));
}

function leastVariables(schema: GraphQLSchema, { variableDefinitions = [] }: OperationDefinitionNode) {
  const given = variableDefinitions.flatMap((definition) => {
    const type = typeFromAST(schema, definition.type as never) as GraphQLInputType | undefined;
    return type && isNonNullType(type) ? [[definition.variable.name.value, leastValue(type)] as const] : [];
  });
  return Object.fromEntries(given);
}

/**
 * Looks at an operation as it would be looked at when it is run, by a caller who may spend `pointsMax` on it: so that what is published can
 * be run, and what the schema no longer knows is found before a partner finds it.
 */
export function createPublishedCheck(schema: GraphQLSchema, pointsMax: number): CheckOperation {
  const costOf = createCostAnalysis(schema);
  const known = new Map<string, OperationFindings>();

  function look(body: string): OperationFindings {
    try {
      const document = parse(body, { maxTokens: DOCUMENT_TOKENS_MAX });
      const operations = document.definitions.filter((node) => node.kind === Kind.OPERATION_DEFINITION);
      const [operation] = operations;
      const name = operation?.name?.value ?? '';
      if (!operation || operations.length > 1 || !name)
        return { name, problems: ['it must hold one operation, with a name'] };
      const faults = [...documentFaults(document), ...validate(schema, document, specifiedRules)];
      let introspects = false;
      visit(document, { Field: (node) => void (introspects ||= /^__(schema|type)$/.test(node.name.value)) });
      const problems = faults.map(({ message }) => message);
      if (introspects) problems.push('it asks for the schema, which is shown to administrators only');
      if (problems.length > 0) return { name, problems };
      const { fieldCost, typeCost } = costOf(document, operation, leastVariables(schema, operation));
      const points = Math.ceil(fieldCost + typeCost);
      return { name, problems: points > pointsMax ? [`it costs ${points} points at least, of ${pointsMax}`] : [] };
    } catch (error) {
      if (error instanceof GraphQLError) return { name: '', problems: [error.message] };
      throw error;
    }
  }

  return (body) => {
    const findings = known.get(body) ?? look(body);
    known.set(body, findings);
    const [oldest = body] = known.keys();
    if (known.size > FINDINGS_KEPT_MAX) known.delete(oldest);
    return findings;
  };
}
