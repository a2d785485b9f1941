import type { InvokeAgentCommandInput } from '@aws-sdk/client-bedrock-agent-runtime';
import type { AgentDefinition } from '../../agents/model.ts';
import type { Question } from '../../conversations/ports.ts';

/** What an agent remembers of a user, nobody else's. The same characters as a session's (InvokeAgent, memoryId). */
export const memoryIdOf = ({ tenantId, userId }: Pick<Question, 'tenantId' | 'userId'>): string =>
  `${tenantId}:${userId}`;

/**
 * The call of one turn. The tenant is in the session id, in the memory id, in the session attributes, and in a filter for every knowledge base
 * attached to the agent: a filter holds for one call only, and leaving it out once means searching every tenant's documents.
 */
export function invokeAgentInput(
  { bedrock, knowledgeBaseIds, memory }: AgentDefinition,
  aliasId: string,
  question: Question,
): InvokeAgentCommandInput {
  const { tenantId, userId, conversationId, text } = question;
  const filter = { equals: { key: 'tenantId', value: tenantId } };
  return {
    agentId: bedrock.agentId,
    agentAliasId: aliasId,
    // 2 to 100 characters of [0-9a-zA-Z._:-] (InvokeAgent, sessionId)
    sessionId: `${tenantId}:${conversationId}`,
    ...(memory && { memoryId: memoryIdOf(question) }),
    inputText: text,
    enableTrace: true, // the only source of token usage
    streamingConfigurations: { streamFinalResponse: true }, // otherwise the whole answer is one chunk
    sessionState: {
      sessionAttributes: { tenantId, userId, conversationId },
      ...(knowledgeBaseIds.length > 0 && {
        knowledgeBaseConfigurations: knowledgeBaseIds.map((knowledgeBaseId) => ({
          knowledgeBaseId,
          retrievalConfiguration: { vectorSearchConfiguration: { filter } },
        })),
      }),
    },
  };
}
