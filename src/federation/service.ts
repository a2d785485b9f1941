import { AppError, badInput } from '../kernel/errors.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import { checkIssuers, type IssuerInput } from './input.ts';
import type { IssuerSettings, TenantIssuer, TenantIssuers } from './model.ts';
import type { IssuerCheck, IssuerDirectory, IssuerStore } from './ports.ts';

/** The issuers of one tenant, as operators set them. */
export interface IssuerService {
  get(): Promise<TenantIssuers>;
  /**
   * Replaces all of them. Whoever comes with a token of one that is left out is refused within 30 s, also where they are connected.
   * @throws BAD_USER_INPUT, also where an issuer that was not set before cannot be reached; CONFLICT where another tenant has one, or
   * with `currentVersion` when the settings are not at `expectedVersion` (any more).
   */
  set(input: {
    readonly issuers: readonly IssuerInput[];
    readonly expectedVersion?: number | null | undefined;
  }): Promise<TenantIssuers>;
}

export interface IssuerServiceDependencies {
  readonly tenantId: TenantId;
  readonly issuersOf: (tenantId: TenantId) => IssuerStore;
  readonly directory: IssuerDirectory;
  readonly check: IssuerCheck;
  /** The issuer of this installation's own tokens. */
  readonly ownIssuer: string;
  readonly changed: (tenantId: TenantId, settings: IssuerSettings) => void;
}

const isOf =
  ({ issuer, tenantClaim }: TenantIssuer) =>
  (other: TenantIssuer): boolean =>
    other.issuer === issuer && other.tenantClaim?.value === tenantClaim?.value;

export function createIssuerService(deps: IssuerServiceDependencies): IssuerService {
  const { tenantId, issuersOf, directory, check, ownIssuer, changed } = deps;
  const store = issuersOf(tenantId);

  async function checkReachable(wanted: TenantIssuer, before: IssuerSettings) {
    const { issuer } = wanted;
    if (issuer === ownIssuer) throw badInput('This is the issuer of this installation’s own tokens.', 'issuer');
    if (before.issuers.some((known) => known.issuer === issuer)) return;
    const fault = await check.faultOf(issuer);
    if (fault !== null) throw badInput(`The issuer ${issuer} cannot be used: ${fault}`, 'issuer');
  }

  /** An issuer is of one tenant alone, or has one claim for all that share it. */
  async function checkKind({ issuer, tenantClaim }: TenantIssuer) {
    const kind = await directory.kindOf(issuer);
    const claim = kind?.kind === 'SHARED' ? kind.claim : null;
    if (kind && claim !== (tenantClaim?.name ?? null))
      throw new AppError(
        'CONFLICT',
        claim === null
          ? `The issuer ${issuer} is set for one tenant alone.`
          : `The issuer ${issuer} is shared by the claim \`${claim}\`.`,
      );
  }

  /** Takes an issuer for this tenant. An entry by which its holder does not stand (any more), left by a crash, is taken over. */
  async function take(wanted: TenantIssuer) {
    const holder = await directory.enter(tenantId, wanted);
    if (holder === tenantId) return;
    const { issuers } = await issuersOf(holder).get();
    if (issuers.some(isOf(wanted)) || !(await directory.overtake(tenantId, holder, wanted)))
      throw new AppError('CONFLICT', `Another tenant has the issuer ${wanted.issuer}.`);
  }

  return {
    get: async () => ({ tenantId, ...(await store.get()) }),

    async set({ issuers: inputs, expectedVersion }) {
      const issuers = checkIssuers(inputs);
      const before = await store.get();
      const conflict = (currentVersion: number) =>
        new AppError('CONFLICT', 'The issuers were changed meanwhile.', { currentVersion });
      if (expectedVersion != null && expectedVersion !== before.version) throw conflict(before.version);
      await Promise.all(issuers.map((wanted) => checkReachable(wanted, before)));
      for (const wanted of issuers) await checkKind(wanted);
      for (const wanted of issuers) await take(wanted);
      const next = { issuers, version: before.version + 1 };
      if (!(await store.replace(next))) throw conflict((await store.get()).version);
      changed(tenantId, next);
      for (const old of before.issuers) if (!issuers.some(isOf(old))) await directory.remove(tenantId, old);
      return { tenantId, ...next };
    },
  };
}
