import type { Clock } from '../kernel/clock.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import { createApiKeyAuthentication } from './authentication.ts';
import type { ApiKeyStore, OperationStore, OperationUsageStore, RefusedKeys } from './ports.ts';
import { createOperationGate } from './running.ts';
import { createOperationUsageRecorder } from './usage.ts';

/** Told of what goes wrong beside requests, and is tried again by itself. */
export interface PartnersLog {
  keyUseNotNoted(error: unknown): void;
  operationUsageNotStored(error: unknown): void;
}

export interface PartnersDependencies {
  readonly storesOf: (tenantId: TenantId) => {
    readonly apiKeys: ApiKeyStore;
    readonly operations: OperationStore;
    readonly operationUsage: OperationUsageStore;
  };
  readonly isOpen: (tenantId: TenantId) => Promise<boolean>;
  readonly refused: RefusedKeys;
  readonly clock: Clock;
  readonly log: PartnersLog;
}

/** What one instance knows of partners' programs, of all tenants: who holds a key, what it may run, and what it did. */
export function createPartners({ storesOf, isOpen, refused, clock, log }: PartnersDependencies) {
  const apiKeys = createApiKeyAuthentication({
    storeOf: (tenantId) => storesOf(tenantId).apiKeys,
    refused,
    clock,
    noteFailed: (error) => log.keyUseNotNoted(error),
  });
  const operationGate = createOperationGate({
    storeOf: (tenantId) => storesOf(tenantId).operations,
    keyOf: apiKeys.find,
    clock,
  });
  const operationUsage = createOperationUsageRecorder({
    storeOf: (tenantId) => storesOf(tenantId).operationUsage,
    isOpen,
    clock,
    flushFailed: (error) => log.operationUsageNotStored(error),
  });
  return {
    apiKeys,
    operationGate,
    operationUsage,
    /** Resolves once everything that was noted and counted is stored, as far as the store is there. */
    async settled() {
      await Promise.all([apiKeys.idle(), operationUsage.flush()]);
    },
  };
}
