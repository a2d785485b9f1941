import type { Agent, AgentDefinition } from './model.ts';

/** This installation's agents, by their names in the configuration. */
export interface AgentCatalogue {
  definition(id: string): AgentDefinition | null;
  /** The ids of all of them, in the order of the configuration. */
  ids(): readonly string[];
  /** The knowledge bases these agents answer from. */
  knowledgeBasesOf(ids: readonly string[]): readonly string[];
  /** The agent to show for an id. One that has left the configuration is shown by its id and `lastKnownName`. */
  resolve(id: string, lastKnownName?: string | null): Agent;
  /** Those of `ids` that are configured, in the same order. */
  among(ids: readonly string[]): readonly Agent[];
}

export function createAgentCatalogue(definitions: readonly AgentDefinition[]): AgentCatalogue {
  const byId = new Map(definitions.map((definition) => [definition.id, definition]));
  const shown = ({ id, name, description }: AgentDefinition): Agent => ({ id, name, description });
  return {
    definition: (id) => byId.get(id) ?? null,
    ids: () => [...byId.keys()],
    knowledgeBasesOf: (ids) => [...new Set(ids.flatMap((id) => byId.get(id)?.knowledgeBaseIds ?? []))],
    resolve(id, lastKnownName) {
      const definition = byId.get(id);
      return definition ? shown(definition) : { id, name: lastKnownName ?? id, description: null };
    },
    among: (ids) => ids.flatMap((id) => byId.get(id) ?? []).map(shown),
  };
}
