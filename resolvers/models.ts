import type { SignedInSession } from '../src/auth/model.ts';
import type { Principal } from '../src/tenancy/principal.ts';
import type { Tenant } from '../src/tenants/model.ts';
import type { User } from '../src/users/model.ts';

/** A user as the API shows it: one who is gone is still shown by id and last known name. */
export type ShownUser = Pick<User, 'id' | 'name' | 'email'>;

/** A caller, with the way to their own tenant: it is there in the answer to `signIn`, before any token was sent. */
export type ShownViewer = Principal & { readonly tenant: () => Promise<Tenant | null> };

export type ShownSession = SignedInSession & { readonly viewer: ShownViewer };

export const shownSession = (
  session: SignedInSession,
  tenantOf: (principal: Principal) => Promise<Tenant | null>,
): ShownSession => ({ ...session, viewer: { ...session.principal, tenant: () => tenantOf(session.principal) } });
