import type { Page, PageRequest } from '../kernel/page.ts';
import type { StoredPasswordToken } from '../tenancy/password-token.ts';
import type { Standing, User, UserAccount } from './model.ts';

/** The users of one tenant. */
export interface UserStore {
  /** One entry for each id, in the same order; null where there is no such user. An API key is a user of its own name, revoked or not. */
  getMany(ids: readonly string[]): Promise<readonly (User | null)[]>;
}

/** The users of one tenant, as they are administered. */
export interface UserDirectory {
  get(id: string): Promise<UserAccount | null>;
  findByEmail(email: string): Promise<UserAccount | null>;
  /** In alphabetical order of their addresses. @throws BAD_USER_INPUT for a cursor of another list. */
  page(request: PageRequest): Promise<Page<UserAccount>>;
  /** Stores an invited user. False when somebody else has the address: nothing is changed then. */
  invite(user: UserAccount, token: StoredPasswordToken): Promise<boolean>;
  /** Replaces the user's token; the one before is worth nothing any more. Null where there is no such user, or they are disabled. */
  setToken(id: string, token: StoredPasswordToken, name?: string): Promise<UserAccount | null>;
  /**
   * Changes what a user may do, whoever changes users at the same time: `next` is applied to the stored user, and again if
   * somebody was faster. `LAST_ADMIN`: no active administrator would be left; `ABSENT`: there is no such user. Nothing is changed then.
   */
  change(id: string, next: (user: UserAccount) => Standing): Promise<UserAccount | 'ABSENT' | 'LAST_ADMIN'>;
}

/** Ends what a user has open. */
export interface UserSessions {
  removeAll(userId: string): Promise<void>;
}
