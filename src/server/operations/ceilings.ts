import type { Identity } from '../../context.ts';
import type { Principal, Role } from '../../tenancy/principal.ts';

/** The most points that one operation may cost, by who asks. */
export interface CostCeilings {
  /** Without credentials. */
  readonly nobody: number;
  readonly member: number;
  readonly partner: number;
  readonly admin: number;
  readonly operator: number;
}

const CEILING_OF: Readonly<Record<Role, keyof CostCeilings>> = {
  PLATFORM_OPERATOR: 'operator',
  TENANT_ADMIN: 'admin',
  MEMBER: 'member',
  PARTNER: 'partner',
};

/** Of several roles the one that allows most counts. */
export const ceilingOf = (ceilings: CostCeilings, { principal }: Identity): number =>
  principal ? Math.max(...principal.roles.map((role) => ceilings[CEILING_OF[role]])) : ceilings.nobody;

/** Whether somebody may read the whole schema, and be told what a misspelled name could have been: administrators and operators. */
export const maySeeSchema = (principal: Principal | null): boolean =>
  principal?.roles.some((role) => role === 'TENANT_ADMIN' || role === 'PLATFORM_OPERATOR') ?? false;
