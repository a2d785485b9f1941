import type { Clock } from '../../kernel/clock.ts';
import type { RetrievalFilter } from './filters.ts';
import type { ServiceErrorName } from './service-error.ts';

/** A value a document's metadata may hold; Bedrock's sidecar files allow these. */
export type MetadataValue = string | number | boolean | readonly string[];

/** What filters are matched against and what a reference carries: the passage's attributes, then `tenantId`, `title` and `uri`. */
export type Metadata = Readonly<Record<string, MetadataValue>>;

/** An agent that may be invoked, with every alias it answers under. */
export interface EmulatedAgent {
  readonly agentId: string;
  readonly aliasIds: readonly [string, ...string[]];
  readonly name: string;
  /** Foundation model id, as traces report it. */
  readonly model: string;
  readonly knowledgeBaseIds: readonly string[];
  /** Whether it keeps memories; a call that names one is answered without it otherwise, like Bedrock's. */
  readonly memory?: boolean;
}

/** One retrievable piece of a document. Knowledge bases are pooled: passages of several tenants may share one. */
export interface Passage {
  readonly knowledgeBaseId: string;
  readonly tenantId: string;
  /** `s3://…`, reported as the reference's location. */
  readonly uri: string;
  readonly title: string;
  readonly text: string;
  /** Further metadata that filters can name, beside `tenantId`, `title` and `uri`. */
  readonly attributes?: Metadata;
}

/**
 * What one invocation received and what really left the emulator.
 *
 * Tokens are counted when the trace that reports them was handed to the socket, so a cut stream counts only what was sent.
 * A request refused with 400 or 404 for its own faults never became an invocation and is not recorded.
 */
export interface ServedInvocation {
  readonly agentId: string;
  readonly aliasId: string;
  readonly sessionId: string;
  /** The text without its `[[emulate …]]`; for a resumed tool call, the question that led to it. */
  readonly question: string;
  readonly sessionAttributes: Readonly<Record<string, string>>;
  /** For every knowledge base attached to the agent: the filter of this call, or null when it came without one. */
  readonly filters: Readonly<Record<string, RetrievalFilter | null>>;
  /** 1 for the first time this session sends this question. */
  readonly attempt: number;
  /** The `x-amzn-requestid` of the answer. */
  readonly requestId: string;
  /** The memory that the answer was begun with. */
  readonly memoryId: string | null;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Trace events that were sent, and the results of look-ups and of action groups among them. */
  readonly tracesSent: number;
  readonly lookups: readonly { readonly knowledgeBaseId: string; readonly results: number }[];
  readonly actions: readonly string[];
  readonly chunksSent: number;
  /** `running` until it ends; `aborted` when the client hung up or `close()` came first; `failed` for every emulated fault. */
  readonly outcome: 'running' | 'completed' | 'failed' | 'aborted';
  /** The exception that was sent, before or inside the stream. */
  readonly error: ServiceErrorName | null;
  readonly clientHungUp: boolean;
}

/** What `startBedrockEmulator` needs to know. */
export interface BedrockEmulatorOptions {
  /** Default `127.0.0.1`: the emulator checks no signature, so it belongs on loopback. */
  readonly host?: string;
  /** Default 0: any free port. */
  readonly port?: number;
  /** Pace of a streamed answer, default 40; `delayMs` of `[[emulate …]]` overrides it. */
  readonly chunksPerSecond?: number;
  readonly agents: readonly EmulatedAgent[];
  readonly passages: readonly Passage[];
  readonly clock?: Clock;
}

/** A running emulator. */
export interface BedrockEmulator {
  /** Base URL for the SDK client's `endpoint`. */
  readonly url: string;
  /** The last invocations (10,000 at most), oldest first, as they stand now. */
  served: () => readonly ServedInvocation[];
  /** The memories that agents keep, each as `agent/alias/memory`. */
  memories: () => readonly string[];
  /** Forgets sessions, memories, attempts and records. Streams under way go on, but leave no mark. */
  reset(): void;
  /** Ends every open stream and frees the port. May be called twice. */
  close(): Promise<void>;
}
