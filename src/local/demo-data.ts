import { createHash } from 'node:crypto';
import type { AgentDefinition } from '../agents/model.ts';
import type { Account } from '../auth/model.ts';
import type { PasswordHasher } from '../auth/ports.ts';
import { isoTime, type Clock } from '../kernel/clock.ts';
import type { ApiKeyStore, OperationStore } from '../partners/ports.ts';
import { apiKeyPrefix, writeApiKey } from '../tenancy/api-key.ts';
import { newUserId, type Role } from '../tenancy/principal.ts';
import { hashOfSecret } from '../tenancy/secret.ts';
import { parseTenantId, PLATFORM, type TenantId } from '../tenancy/tenant-id.ts';
import { UNLIMITED } from '../tenants/model.ts';
import type { TenantDirectory } from '../tenants/ports.ts';
import { demoAgents } from './demo-corpus.ts';
import { publishDemoOperations } from './demo-operations.ts';

const DESCRIPTIONS: Readonly<Record<string, string>> = {
  support: 'Answers questions about orders, products and policies.',
  analyst: 'Answers questions about the business and its figures.',
};

/** The demo agents, as an installation would configure them. */
export const demoAgentDefinitions: readonly AgentDefinition[] = demoAgents.map((agent) => {
  const id = agent.name.toLowerCase();
  return {
    id,
    name: agent.name.charAt(0).toUpperCase() + agent.name.slice(1),
    description: DESCRIPTIONS[id] ?? null,
    bedrock: { agentId: agent.agentId, aliasIds: agent.aliasIds },
    modelId: agent.model,
    knowledgeBaseIds: agent.knowledgeBaseIds,
    memory: agent.memory ?? false,
  };
});

const DEMO_TENANTS = [
  { slug: 'acme', name: 'Acme Corporation' },
  { slug: 'globex', name: 'Globex Energy' },
];

/** In the documentation, so no secret. */
export const PUBLIC_PASSWORD = 'demo-demo-demo';

interface DemoUser {
  readonly home: TenantId;
  readonly name: string;
  readonly email: string;
  readonly role: Role;
}

function tenantOf(slug: string): TenantId {
  const id = parseTenantId(slug);
  if (id === null) throw new Error(`${slug} is no tenant id`);
  return id;
}

const demoUsers = (): readonly DemoUser[] => [
  { home: PLATFORM, name: 'Olga Operator', email: 'operator@platform.example', role: 'PLATFORM_OPERATOR' },
  ...DEMO_TENANTS.flatMap(({ slug, name }): DemoUser[] => [
    { home: tenantOf(slug), name: `${name} Admin`, email: `admin@${slug}.example`, role: 'TENANT_ADMIN' },
    { home: tenantOf(slug), name: `${name} Member`, email: `member@${slug}.example`, role: 'MEMBER' },
  ]),
];

/** Who can sign in to the demo data; the password is null where it is not the one everybody knows. */
export const demoAccounts = (password: string) =>
  demoUsers().map(({ home, name, email }) => ({
    name,
    tenant: home,
    email,
    password: password === PUBLIC_PASSWORD ? password : null,
  }));

/** Those of a ULID. */
const ID_CHARACTERS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/** What stands in for chance where the demo data is to be the same everywhere. */
const digest = (...parts: readonly string[]): Buffer => createHash('sha256').update(parts.join('\n')).digest();

/** The key of a demo tenant's partner. Like the demo users' it is no secret, unless the password is one. */
export function demoApiKey(slug: string, password: string) {
  const tenantId = tenantOf(slug);
  const id = `key-01DEM0${Array.from(digest('key', slug).subarray(0, 20), (byte) => ID_CHARACTERS.charAt(byte & 31)).join('')}`;
  const secret = digest('secret', slug, password).toString('base64url');
  return { tenantId, id, secretHash: hashOfSecret(secret), text: writeApiKey(tenantId, id, secret) };
}

export interface DemoDependencies {
  readonly tenants: TenantDirectory;
  readonly usersOf: (home: TenantId) => {
    findByEmail(email: string): Promise<Account | null>;
    register(account: Account, nowMs: number): Promise<boolean>;
  };
  readonly partnersOf: (home: TenantId) => { readonly apiKeys: ApiKeyStore; readonly operations: OperationStore };
  readonly hasher: PasswordHasher;
  readonly clock: Clock;
  readonly password: string;
}

/** Stores the demo tenants, users, API keys and published operations that are not there yet. Doing it again changes nothing. */
export async function seedDemoData(deps: DemoDependencies): Promise<void> {
  const { tenants, usersOf, partnersOf, hasher, clock, password } = deps;
  const at = isoTime(clock.now());
  const open = new Set<TenantId>([PLATFORM]);
  for (const { slug, name } of DEMO_TENANTS) {
    const id = tenantOf(slug);
    await tenants.create({
      id,
      name,
      status: 'ACTIVE',
      agentIds: demoAgentDefinitions.map((agent) => agent.id),
      knowledgeBaseIds: [...new Set(demoAgentDefinitions.flatMap((agent) => agent.knowledgeBaseIds))],
      limits: UNLIMITED,
      features: [],
      conversationRetentionDays: null,
      alertPercentages: null,
      allowedOrigins: [],
      version: 1,
      createdAt: at,
      updatedAt: at,
    });
    if ((await tenants.get(id))?.status !== 'ACTIVE') continue; // somebody tries how tenants are removed
    open.add(id);
    const { id: keyId, secretHash } = demoApiKey(slug, password);
    const { apiKeys, operations } = partnersOf(id);
    await publishDemoOperations(id, operations, clock.now());
    await apiKeys.create({
      ...{ tenantId: id, id: keyId, name: `${name} Partner`, prefix: apiKeyPrefix(id, keyId), secretHash },
      ...{ scopes: ['READ', 'CONVERSE'], operationIds: null, enforcement: 'ENFORCE', expiresAt: null },
      ...{ createdAt: at, lastUsedAt: null, revokedAt: null },
    });
  }
  for (const { home, name, email, role } of demoUsers()) {
    const store = usersOf(home);
    if (!open.has(home) || (await store.findByEmail(email))) continue;
    const passwordHash = await hasher.hash(password);
    await store.register({ userId: newUserId(clock.now()), name, email, roles: [role], passwordHash }, clock.now());
  }
}
