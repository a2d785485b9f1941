import type { TenantId } from '../tenancy/tenant-id.ts';

/** The calls of one thing of a service: of one knowledge base, action group or memory. */
export interface TargetCalls {
  /** A knowledge base's or memory's id, or an action group's name; null where no trace named it. */
  readonly name: string | null;
  readonly calls: number;
  readonly failures: number;
  /** Those of them whose latency is known, and the sum of it. */
  readonly measured: number;
  readonly latencyMs: number;
  /** Passages they brought back. */
  readonly results: number;
}

/** The calls to one service during a turn. */
export interface ServiceCalls {
  readonly calls: number;
  readonly failures: number;
  /** Of the calls whose latency is known. */
  readonly latenciesMs: readonly number[];
  /** The same calls by what was called. */
  readonly targets: readonly TargetCalls[];
}

/** What one model was used for in a turn. The models of a turn add up to the turn. */
export interface ModelTokens {
  readonly modelId: string | null;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly estimatedTokens: number;
  /** What it cost by the prices of that time, in billionths of a dollar; null where no price was known. */
  readonly nanoUsd: number | null;
}

/** One turn as it was metered: immutable, and the only truth about usage. */
export interface TurnEvent {
  readonly turnId: string;
  readonly conversationId: string;
  readonly userId: string;
  readonly agentId: string;
  readonly modelId: string | null;
  readonly first: boolean;
  readonly status: 'COMPLETED' | 'FAILED' | 'CANCELLED';
  readonly errorCode: string | null;
  /** Calls made to the agent, and the alias of it that answered or was tried last. */
  readonly attempts: number;
  readonly aliasId: string | null;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly estimatedTokens: number;
  readonly models: readonly ModelTokens[];
  /** The version of the price table its cost was taken from; null where there was none. */
  readonly priceVersion: string | null;
  readonly latencyMs: number;
  readonly firstTextMs: number | null;
  /** What Bedrock names its calls and their steps by, for its support. */
  readonly requestIds: readonly string[];
  readonly traces: number;
  readonly traceIds: readonly string[];
  /** The agent's own session. */
  readonly sessionId: string | null;
  /** The sign-in it was asked under. */
  readonly signInId: string | null;
  readonly memory: ServiceCalls;
  readonly knowledgeBase: ServiceCalls;
  readonly actionGroup: ServiceCalls;
}

/** One sign-in. */
export interface SignInEvent {
  /** That of the session it began: the turns asked under it name it. */
  readonly id: string;
  readonly userId: string;
  readonly identityProvider: string;
  readonly latencyMs: number;
}

/** What a turn turned out to have used after it was recorded: the difference, for better or worse. It counts at the turn's time. */
export interface LateTokensEvent {
  readonly turnId: string;
  readonly userId: string;
  readonly agentId: string;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly estimatedTokens: number;
  readonly models: readonly ModelTokens[];
  readonly priceVersion: string | null;
}

export type UsageEvent =
  | ({ readonly kind: 'TURN' } & TurnEvent)
  | ({ readonly kind: 'LATE_TOKENS' } & LateTokensEvent)
  | ({ readonly kind: 'SIGN_IN' } & SignInEvent);

export interface Percentiles {
  readonly p50: number;
  readonly p90: number;
  readonly p95: number;
  readonly p99: number;
}

export interface ServiceUsage {
  readonly invocations: number;
  readonly totalLatencyMs: number;
  readonly averageLatencyMs: number;
  readonly latencyMs: Percentiles;
  readonly successRate: number;
  readonly errorRate: number;
}

export interface TokenTotals {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly totalTokens: number;
}

export const USAGE_SERVICES = [
  'RUNTIME',
  'MEMORY',
  'IDENTITY',
  'OBSERVABILITY',
  'KNOWLEDGE_BASE',
  'ACTION_GROUP',
] as const;
export type UsageServiceName = (typeof USAGE_SERVICES)[number];

export interface AgentUsage {
  readonly agentId: string;
  readonly invocations: number;
  readonly tokens: TokenTotals;
  readonly averageLatencyMs: number;
  readonly errorRate: number;
}

export interface UserUsage {
  readonly tenantId: TenantId;
  readonly userId: string;
  readonly turns: number;
  readonly tokens: TokenTotals;
}

export interface ModelUsage {
  readonly modelId: string | null;
  readonly tokens: TokenTotals;
  readonly estimatedTokens: number;
  readonly costUsd: number;
  readonly unpricedTokens: number;
}

export interface KnowledgeBaseUsage {
  readonly knowledgeBaseId: string | null;
  readonly queries: number;
  readonly results: number;
  readonly averageLatencyMs: number;
  readonly errorRate: number;
}

export interface ActionGroupUsage {
  readonly actionGroup: string | null;
  readonly calls: number;
  readonly averageLatencyMs: number;
  readonly errorRate: number;
}

export interface HourUsage {
  readonly hour: number;
  readonly invocations: number;
  readonly tokens: TokenTotals;
}

/** One point of a series; null where nobody counts that under the series' filter. */
export interface UsagePoint {
  readonly tenantId: TenantId;
  readonly start: string;
  readonly end: string;
  readonly turns: number | null;
  readonly invocations: number | null;
  readonly tokens: TokenTotals;
  readonly costUsd: number | null;
}

/** The counters of the current day or month. */
export interface UsageWindow {
  readonly start: string;
  readonly invocations: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly tokensLimit: number | null;
  readonly tokensRemaining: number | null;
  readonly resetsAt: string;
}

/** A tenant's counters at a moment. */
export interface LiveUsage {
  readonly tenantId: TenantId;
  readonly at: string;
  readonly activeGenerations: number;
  readonly day: UsageWindow;
  readonly month: UsageWindow;
}

/** What a tenant used in [start, end). `users` reads every user, most tokens first; the API shows the first of them. */
export interface UsageSummary {
  readonly tenantId: TenantId;
  readonly start: string;
  readonly end: string;
  readonly agents: ServiceUsage;
  readonly conversations: {
    readonly conversations: number;
    readonly turns: number;
    readonly uniqueUsers: () => Promise<number>;
    readonly turnsPerConversation: number;
  };
  readonly tokens: TokenTotals;
  readonly estimatedTokens: number;
  readonly costUsd: number;
  readonly unpricedTokens: number;
  readonly byModel: readonly ModelUsage[];
  readonly byAgent: readonly AgentUsage[];
  readonly byKnowledgeBase: readonly KnowledgeBaseUsage[];
  readonly byActionGroup: readonly ActionGroupUsage[];
  readonly users: () => Promise<readonly UserUsage[]>;
  readonly byHourOfDay: readonly HourUsage[];
  readonly byService: readonly { readonly service: UsageServiceName; readonly usage: ServiceUsage }[];
}

export type ExportFormat = 'CSV' | 'JSONL';

/** The raw events of [start, end), to be written in a format. */
export interface ExportRequest {
  readonly start: Date;
  readonly end: Date;
  readonly format: ExportFormat;
}
