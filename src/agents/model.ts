import type { TenantId } from '../tenancy/tenant-id.ts';

/** An agent as the installation's configuration describes it. */
export interface AgentDefinition {
  /** This installation's name for it, e.g. `support`. */
  readonly id: string;
  readonly name: string;
  readonly description: string | null;
  /** The agent on Amazon Bedrock: `agentId` and `agentAliasId` of InvokeAgent. The first alias is asked first, the others stand in for it. */
  readonly bedrock: { readonly agentId: string; readonly aliasIds: readonly [string, ...string[]] };
  /** The model behind the alias, named until a trace names it. */
  readonly modelId: string | null;
  /** Every knowledge base attached to the agent. Each one gets a tenant filter on every call; one left out here would be searched unfiltered. */
  readonly knowledgeBaseIds: readonly string[];
  /** Whether it remembers its users from one conversation to the next: memory is switched on in its configuration on Bedrock. */
  readonly memory: boolean;
}

/** An agent as callers see it. */
export interface Agent {
  readonly id: string;
  readonly name: string;
  readonly description: string | null;
}

/** What agents keep of their users beyond a conversation. */
export interface AgentMemories {
  /** Removes what every agent remembers of these users of a tenant, if anything. Nobody is asked for where no agent remembers. */
  forget(tenantId: TenantId, userIds: AsyncIterable<string>): Promise<void>;
}
