import { DeleteAgentMemoryCommand, type BedrockAgentRuntimeClient } from '@aws-sdk/client-bedrock-agent-runtime';
import type { AgentDefinition, AgentMemories } from '../../agents/model.ts';
import { memoryIdOf } from './request.ts';

/** Asks every alias of every agent that remembers: each alias has memories of its own. */
export function createAgentMemories(
  client: BedrockAgentRuntimeClient,
  definitions: readonly AgentDefinition[],
): AgentMemories {
  const aliases = definitions
    .filter(({ memory }) => memory)
    .flatMap(({ bedrock: { agentId, aliasIds } }) => aliasIds.map((agentAliasId) => ({ agentId, agentAliasId })));
  return {
    async forget(tenantId, userIds) {
      if (aliases.length === 0) return;
      for await (const userId of userIds) {
        // Left out, the memory's id would mean everybody's.
        const memoryId = memoryIdOf({ tenantId, userId });
        for (const alias of aliases) await client.send(new DeleteAgentMemoryCommand({ ...alias, memoryId }));
      }
    },
  };
}
