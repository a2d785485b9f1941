import {
  getNamedType,
  isInterfaceType,
  isObjectType,
  isUnionType,
  valueFromASTUntyped,
  type GraphQLField,
  type GraphQLNamedType,
  type GraphQLObjectType,
} from 'graphql';
import { everyField, rootFields, schema } from './schema-walk.ts';

/** Everybody there may be, in the order of the table's columns. */
export const CALLERS = ['nobody', 'MEMBER', 'PARTNER', 'TENANT_ADMIN', 'operator', 'operator in a tenant'] as const;
export type CallerKind = (typeof CALLERS)[number];

/** What the directives of a field say to a caller: they may ask it, or why not. */
export type Gate = 'open' | 'UNAUTHENTICATED' | 'FORBIDDEN' | 'TENANT_REQUIRED';

type Field = GraphQLField<unknown, unknown>;

/** What services refuse that the schema admits: an operator administers a tenant, and never speaks in it. */
const REFUSED_BY_SERVICES: Readonly<Record<string, readonly CallerKind[]>> = {
  'Mutation.createConversation': ['operator in a tenant'],
  'Mutation.sendMessage': ['operator in a tenant'],
};

const directiveOf = (field: Field, name: string) =>
  field.astNode?.directives?.find((directive) => directive.name.value === name);
const roleOf = (caller: CallerKind): string => (caller.startsWith('operator') ? 'PLATFORM_OPERATOR' : caller);

export function gateOf(coordinate: string, field: Field, caller: CallerKind): Gate {
  if (directiveOf(field, 'public')) return 'open';
  const roles = directiveOf(field, 'hasRole')?.arguments?.[0]?.value;
  const scoped = directiveOf(field, 'tenantScoped') !== undefined;
  if (!roles && !scoped) return 'open'; // a field inside: whoever has the object may read it
  if (caller === 'nobody') return 'UNAUTHENTICATED';
  if (roles && !(valueFromASTUntyped(roles) as string[]).includes(roleOf(caller))) return 'FORBIDDEN';
  if (scoped && caller === 'operator') return 'TENANT_REQUIRED';
  return REFUSED_BY_SERVICES[coordinate]?.includes(caller) ? 'FORBIDDEN' : 'open';
}

/** Every field that a caller can come to, whatever way, as `Type.field`. */
export function reachOf(caller: CallerKind): ReadonlySet<string> {
  const reached = new Set<string>();
  function enter(type: GraphQLNamedType) {
    if (isInterfaceType(type) || isUnionType(type)) schema.getPossibleTypes(type).forEach(enter);
    if (isObjectType(type)) for (const field of Object.values(type.getFields())) visit(type, field);
  }
  function visit(type: GraphQLObjectType, field: Field) {
    const coordinate = `${type.name}.${field.name}`;
    if (reached.has(coordinate) || gateOf(coordinate, field, caller) !== 'open') return;
    reached.add(coordinate);
    enter(getNamedType(field.type));
  }
  for (const { type, field } of rootFields) visit(type, field);
  return reached;
}

/** Whose rows those are that a caller finds behind a field that is open to them (the rule at the head of the contract). */
const VISIBLE = [
  ['nobody, operator', 'nothing of any tenant but its configuration, which operators administer'],
  [
    'MEMBER, PARTNER',
    'of conversations, messages, streams and usage by user: their own. They change and cancel only these',
  ],
  [
    'TENANT_ADMIN',
    'all of the tenant. They read and delete what is a colleague’s, and never change it or answer in it',
  ],
  ['operator in a tenant', 'all of the tenant, as its administrators; they create no conversation and send nothing'],
] as const;

const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [row(head), row(head.map(() => '---')), ...rows.map(row)].join('\n');

/** `docs/permissions.md` */
export function permissionsPage(): string {
  const reach = new Map(CALLERS.map((caller) => [caller, reachOf(caller)]));
  const roots = rootFields.map(({ name, field }) => [
    `\`${name}\``,
    ...CALLERS.map((caller) => {
      const gate = gateOf(name, field, caller);
      return gate === 'open' ? 'yes' : `\`${gate}\``;
    }),
  ]);
  const isRoot = new Set(rootFields.map(({ name }) => name));
  const inside = everyField
    .filter((coordinate) => !isRoot.has(coordinate))
    .map((coordinate) => [
      `\`${coordinate}\``,
      ...CALLERS.map((caller) => (reach.get(caller)?.has(coordinate) ? 'yes' : '–')),
    ]);
  return `# Permissions

Who may ask what. Generated from the schema by \`npm run permissions\`; a test holds the running server to it, and this page to the schema.

\`operator\` is a \`PLATFORM_OPERATOR\` who names no tenant, \`operator in a tenant\` one who names it by \`x-tenant-id\`. A \`PARTNER\` is an API key: beside this,
it needs the scope \`READ\` for queries and subscriptions, and \`CONVERSE\` for mutations. Of a suspended tenant, everybody but operators gets
\`TENANT_SUSPENDED\` in place of \`yes\`, except for \`viewer\`.

## Whose

Another tenant's rows are nobody's to see, by any way. Inside a tenant:

${table(
  ['caller', 'finds'],
  VISIBLE.map(([caller, finds]) => [caller, finds]),
)}

What a caller may not see looks exactly like what does not exist, by every argument that takes an id.

## Root fields

${table(['field', ...CALLERS], roots)}

## Exports

\`/exports/usage\`, \`/exports/audit\` and \`/exports/tenant\` are open to whom \`createUsageExport\`, \`createAuditExport\` and \`createTenantExport\` are; a
link allows what its maker may at the moment it is followed.

## Fields inside

\`yes\`: it can be come to, by some way, from a root field that is open to the caller.

${table(['field', ...CALLERS], inside)}
`;
}
