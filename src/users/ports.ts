import type { User } from './model.ts';

/** The users of one tenant. */
export interface UserStore {
  /** One entry for each id, in the same order; null where there is no such user. */
  getMany(ids: readonly string[]): Promise<readonly (User | null)[]>;
}
