import type { LatencySketch } from '../kernel/latency-sketch.ts';
import type { ApiKeyEnforcement, OperationIndex, PublishedOperation, StoredApiKey } from './model.ts';

/** The API keys of one tenant. What was revoked is kept: what it owned still shows its name. */
export interface ApiKeyStore {
  get(id: string): Promise<StoredApiKey | null>;
  /** Every key there ever was, the newest first, as of now. */
  list(): Promise<readonly StoredApiKey[]>;
  /** False when there is a key of this id: nothing is changed then. */
  create(key: StoredApiKey): Promise<boolean>;
  remove(id: string): Promise<void>;
  /** The key, revoked now or before; null where there is none. */
  revoke(id: string, at: string): Promise<StoredApiKey | null>;
  /** The key, with this enforcement from now on; null where there is none. */
  setEnforcement(id: string, enforcement: ApiKeyEnforcement): Promise<StoredApiKey | null>;
  /** Notes that a key was used, unless a later use is noted. */
  used(id: string, at: string): Promise<void>;
}

/** Counts keys that were refused, by the address they came from. */
export interface RefusedKeys {
  /** Milliseconds that an address has to wait before another key of it is looked at; 0: none. */
  wait(ipAddress: string | null): Promise<number>;
  add(ipAddress: string | null): Promise<void>;
}

/** The published operations of one tenant. */
export interface OperationStore {
  index(): Promise<OperationIndex>;
  /** Replaces the index if nobody has since the one of version `before`; false if somebody has. */
  replaceIndex(index: OperationIndex, before: number): Promise<boolean>;
  /** One entry for each operation, in the same order; null where there is none (any more). */
  bodies(operations: readonly PublishedOperation[]): Promise<readonly (string | null)[]>;
  saveBodies(operations: readonly (PublishedOperation & { readonly body: string })[]): Promise<void>;
  removeBodies(operations: readonly PublishedOperation[]): Promise<void>;
}

/** What is found in the body of an operation, by the schema and the limits of the installation. */
export interface OperationFindings {
  /** Empty where it has none. */
  readonly name: string;
  /** Why it could not be run by a partner; none if it could. */
  readonly problems: readonly string[];
}

export type CheckOperation = (body: string) => OperationFindings;

/** What one key did with one operation, as it is added up. */
export interface OperationCounts {
  readonly operationId: string;
  readonly name: string;
  readonly calls: number;
  readonly errors: number;
  /** Calls that would be refused, if the key were held to published operations. */
  readonly wouldBeRefused: number;
  /** Calls whose latency is in the sum and in the sketch. */
  readonly measured: number;
  readonly latencySumMs: number;
  readonly sketch: Readonly<LatencySketch>;
  readonly lastUsedAt: string;
}

/** What the API keys of one tenant did. */
export interface OperationUsageStore {
  /** Adds to what is there. After a failure it may be done or not. */
  add(keyId: string, counts: OperationCounts): Promise<void>;
  /** What is kept: operations that were used in the last 90 days. */
  list(keyId: string): Promise<readonly OperationCounts[]>;
}
