import type { StoredApiKey } from './model.ts';

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
  /** Notes that a key was used, unless a later use is noted. */
  used(id: string, at: string): Promise<void>;
}

/** Counts keys that were refused, by the address they came from. */
export interface RefusedKeys {
  /** Milliseconds that an address has to wait before another key of it is looked at; 0: none. */
  wait(ipAddress: string | null): Promise<number>;
  add(ipAddress: string | null): Promise<void>;
}
