import type { AgentDefinition } from '../agents/model.ts';
import type { Account } from '../auth/model.ts';
import type { PasswordHasher } from '../auth/ports.ts';
import { isoTime, type Clock } from '../kernel/clock.ts';
import { newUserId, type Role } from '../tenancy/principal.ts';
import { parseTenantId, PLATFORM, type TenantId } from '../tenancy/tenant-id.ts';
import { UNLIMITED } from '../tenants/model.ts';
import type { TenantDirectory } from '../tenants/ports.ts';
import { demoAgents } from './demo-corpus.ts';

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
  };
});

const DEMO_TENANTS = [
  { slug: 'acme', name: 'Acme Corporation' },
  { slug: 'globex', name: 'Globex Energy' },
];

/** In the documentation, so no secret. */
const PUBLIC_PASSWORD = 'demo-demo-demo';

interface DemoUser {
  readonly home: TenantId;
  readonly name: string;
  readonly email: string;
  readonly role: Role;
}

const demoUsers = (): readonly DemoUser[] => [
  { home: PLATFORM, name: 'Olga Operator', email: 'operator@platform.example', role: 'PLATFORM_OPERATOR' },
  ...DEMO_TENANTS.flatMap(({ slug, name }): DemoUser[] => {
    const home = parseTenantId(slug);
    if (home === null) throw new Error(`${slug} is no tenant id`);
    return [
      { home, name: `${name} Admin`, email: `admin@${slug}.example`, role: 'TENANT_ADMIN' },
      { home, name: `${name} Member`, email: `member@${slug}.example`, role: 'MEMBER' },
    ];
  }),
];

/** Who can sign in to the demo data; the password is null where it is not the one everybody knows. */
export const demoAccounts = (password: string) =>
  demoUsers().map(({ home, name, email }) => ({
    name,
    tenant: home,
    email,
    password: password === PUBLIC_PASSWORD ? password : null,
  }));

export interface DemoDependencies {
  readonly tenants: TenantDirectory;
  readonly usersOf: (home: TenantId) => {
    findByEmail(email: string): Promise<Account | null>;
    register(account: Account, nowMs: number): Promise<boolean>;
  };
  readonly hasher: PasswordHasher;
  readonly clock: Clock;
  readonly password: string;
}

/** Stores the demo tenants and users that are not there yet. Doing it again changes nothing. */
export async function seedDemoData({ tenants, usersOf, hasher, clock, password }: DemoDependencies): Promise<void> {
  const at = isoTime(clock.now());
  for (const { slug, name } of DEMO_TENANTS) {
    const id = parseTenantId(slug);
    if (id === null) throw new Error(`${slug} is no tenant id`);
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
      version: 1,
      createdAt: at,
      updatedAt: at,
    });
  }
  for (const { home, name, email, role } of demoUsers()) {
    const store = usersOf(home);
    if (await store.findByEmail(email)) continue;
    const passwordHash = await hasher.hash(password);
    await store.register({ userId: newUserId(clock.now()), name, email, roles: [role], passwordHash }, clock.now());
  }
}
