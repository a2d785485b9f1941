import DataLoader from 'dataloader';
import { isoTime, type Clock } from '../kernel/clock.ts';
import { AppError, badInput } from '../kernel/errors.ts';
import { ulid } from '../kernel/ids.ts';
import type { TenantScope } from '../tenancy/scope.ts';
import { isOpen, type OperationIndex, type PersistedOperation, type PublishedOperation } from './model.ts';
import { checkOperationIds, operationIdOf, OPERATIONS_MAX, parseOperationId } from './operation-id.ts';
import type { CheckOperation, OperationStore } from './ports.ts';

/** Bytes of one operation's body, in UTF-8. */
export const BODY_BYTES_MAX = 16_384;
const NAME_CHARACTERS_MAX = 100;
/** Faults that one refusal names; beyond that it says how many there are. */
const FAULTS_NAMED_MAX = 50;
/** So many others would have to change the operations of the same tenant in the same moment, one after the other. */
const TRIES = 20;

/** An operation as it is handed in to be published. */
export interface NewOperation {
  readonly id: string;
  readonly body: string;
}

/** The published operations of one tenant, as its administrators administer them, and as one caller sees them. */
export interface OperationService {
  /** Those the caller may run; for an administrator all, the newest first. */
  list(): Promise<readonly PersistedOperation[]>;
  /**
   * Publishes all of them, or none. What is published already stays as it is; what has ended begins anew.
   * @throws BAD_USER_INPUT that names every fault; CONFLICT with `limit` where the tenant would have more than it may.
   */
  publish(given: readonly NewOperation[]): Promise<{ operations: readonly PersistedOperation[]; newCount: number }>;
  /** Nobody finds them any more, within 30 s. Those that are not published do not matter. */
  unpublish(ids: readonly string[]): Promise<{ unpublishedIds: readonly string[]; count: number }>;
  /** Has them end at this time, and every answer of theirs say so until then; null takes that back. @throws BAD_USER_INPUT, NOT_FOUND */
  sunset(ids: readonly string[], at: Date | null): Promise<readonly PersistedOperation[]>;
}

export interface OperationServiceDependencies {
  readonly scope: TenantScope;
  readonly store: OperationStore;
  readonly check: CheckOperation;
  /** What the caller may run; null: everything. */
  readonly allowedIds: () => Promise<readonly string[] | null>;
  /** Told of an index that was changed. */
  readonly changed: (index: OperationIndex) => void;
  readonly clock: Clock;
}

export function createOperationService(deps: OperationServiceDependencies): OperationService {
  const { scope, store, check, allowedIds, changed, clock } = deps;
  const { tenantId, principal } = scope;
  const bodies = new DataLoader<PublishedOperation, string | null, string>((asked) => store.bodies(asked), {
    cacheKeyFn: ({ id, publication }) => `${id} ${publication}`,
  });

  function shown(operation: PublishedOperation): PersistedOperation {
    const body = async () => (await bodies.load(operation)) ?? '';
    const problems = async () => check(await body()).problems;
    return { ...operation, body, problems, valid: async () => (await problems()).length === 0 };
  }

  /** Applies a change to the index as it is then; a change that changes nothing is not written. */
  async function change(
    next: (index: OperationIndex) => Promise<ReadonlyMap<string, PublishedOperation> | null>,
  ): Promise<OperationIndex> {
    for (let tries = 0; tries < TRIES; tries++) {
      const index = await store.index();
      const operations = await next(index);
      if (operations === null) return index;
      const changedIndex = { version: index.version + 1, operations };
      if (await store.replaceIndex(changedIndex, index.version)) {
        changed(changedIndex);
        return changedIndex;
      }
    }
    throw new AppError('CONFLICT', 'The operations were changed meanwhile, again and again.');
  }

  return {
    async list() {
      const { operations } = await store.index();
      const all = [...operations.values()].sort((a, b) => b.publishedAt.localeCompare(a.publishedAt));
      if (principal.roles.includes('TENANT_ADMIN')) return all.map(shown);
      const allowed = await allowedIds();
      return all
        .filter((operation) => isOpen(operation, clock.now()) && (allowed?.includes(operation.id) ?? true))
        .map(shown);
    },

    async publish(given) {
      const checked = checkAll(given, check);
      const publication = ulid(clock.now());
      const fresh = ({ id, name }: CheckedOperation): PublishedOperation => ({
        ...{ tenantId, id, name, publication, publishedAt: isoTime(clock.now()), deprecatedAt: null, sunsetAt: null },
      });
      let newCount = 0;
      const { operations } = await change(async ({ operations }) => {
        const added = [...checked.values()].filter(({ id }) => {
          const known = operations.get(id);
          return !known || !isOpen(known, clock.now());
        });
        newCount = added.length;
        if (newCount === 0) return null;
        const next = new Map([...operations, ...added.map((each) => [each.id, fresh(each)] as const)]);
        if (next.size > OPERATIONS_MAX) throw tooMany();
        // Before the index names them, so that it names nothing that is not there.
        await store.saveBodies(added.map((each) => ({ ...fresh(each), body: each.body })));
        return next;
      });
      const published = [...checked.keys()].map((id) => operations.get(id) ?? notFound());
      return { operations: published.map(shown), newCount };
    },

    async unpublish(ids) {
      const wanted = checkOperationIds(ids, 'ids');
      let removed: readonly PublishedOperation[] = [];
      await change(({ operations }) => {
        removed = wanted.flatMap((id) => operations.get(id) ?? []);
        const left = [...operations].filter(([, operation]) => !removed.includes(operation));
        return Promise.resolve(removed.length === 0 ? null : new Map(left));
      });
      await store.removeBodies(removed);
      return { unpublishedIds: removed.map(({ id }) => id), count: removed.length };
    },

    async sunset(ids, at) {
      if (at && at.getTime() <= clock.now()) throw badInput('`at` is over already: use `unpublishOperations`.', 'at');
      const wanted = checkOperationIds(ids, 'ids');
      const dates = at
        ? { deprecatedAt: isoTime(clock.now()), sunsetAt: isoTime(at.getTime()) }
        : { deprecatedAt: null, sunsetAt: null };
      const { operations } = await change(({ operations }) => {
        const next = new Map(operations);
        for (const id of wanted) {
          const known = operations.get(id) ?? notFound();
          const deprecatedAt = dates.deprecatedAt && (known.deprecatedAt ?? dates.deprecatedAt);
          next.set(id, { ...known, ...dates, deprecatedAt });
        }
        return Promise.resolve(next);
      });
      return wanted.flatMap((id) => operations.get(id) ?? []).map(shown);
    },
  };
}

const notFound = (): never => {
  throw new AppError('NOT_FOUND', 'There is no such operation.');
};

const tooMany = () =>
  new AppError('CONFLICT', `A tenant publishes at most ${OPERATIONS_MAX} operations: unpublish some first.`, {
    limit: OPERATIONS_MAX,
  });

interface CheckedOperation extends NewOperation {
  readonly name: string;
}

/** Every operation, by its id. @throws BAD_USER_INPUT for all that is wrong with all of them. */
function checkAll(given: readonly NewOperation[], check: CheckOperation): ReadonlyMap<string, CheckedOperation> {
  if (given.length > OPERATIONS_MAX)
    throw badInput(`A tenant publishes at most ${OPERATIONS_MAX} operations.`, 'operations');
  const checked = new Map<string, CheckedOperation>();
  const faults = given.flatMap(({ id: text, body }, index) => {
    const id = parseOperationId(text);
    const { name, problems: found } = isTooLong(body) ? TOO_LONG : check(body);
    const problems = [
      ...(id !== operationIdOf(body) ? ['its id is not the SHA-256 of its body'] : []),
      ...found,
      ...(name.length > NAME_CHARACTERS_MAX ? [`its name has more than ${NAME_CHARACTERS_MAX} characters`] : []),
    ];
    if (id !== null) checked.set(id, { id, name, body });
    return problems.map((problem) => `${name || `operation ${index + 1}`}: ${problem}`);
  });
  if (faults.length === 0) return checked;
  const more = faults.length - FAULTS_NAMED_MAX;
  const named = [...faults.slice(0, FAULTS_NAMED_MAX), ...(more > 0 ? [`and ${more} more`] : [])];
  throw badInput(`Nothing was published:\n- ${named.join('\n- ')}`, 'operations');
}

const TOO_LONG = { name: '', problems: [`it has more than ${BODY_BYTES_MAX} bytes`] };
const isTooLong = (body: string): boolean => Buffer.byteLength(body) > BODY_BYTES_MAX;
