import { parseArgs } from 'node:util';
import { createSign } from './audit/chain.ts';
import { recordAlone } from './audit/closed-trails.ts';
import { createAuditExport } from './audit/export.ts';
import { dayOf } from './audit/model.ts';
import type { AuditTrails } from './audit/ports.ts';
import { verifyTrail } from './audit/verifying.ts';
import { createDynamoDb } from './adapters/dynamodb/index.ts';
import { newSigningKey } from './adapters/jwt/access-tokens.ts';
import { openStorage, type Surroundings } from './backends.ts';
import type { Config } from './config.ts';
import { isoTime, systemClock } from './kernel/clock.ts';
import { checkEmail, checkName } from './tenancy/names.ts';
import { parseTenantId, PLATFORM, type TenantId } from './tenancy/tenant-id.ts';
import { reconcile } from './usage/closing.ts';
import { DAY_MS } from './usage/periods.ts';
import { enableOperator, inviteOperator as handOut } from './users/operators.ts';

const say = (line: string) => process.stdout.write(`${line}\n`);

/** `npm run signing-key:create`: a key for `JWT_SIGNING_KEY`. */
export async function createSigningKey(): Promise<void> {
  say(JSON.stringify(await newSigningKey()));
}

/** `npm run tables:create`: the tables an installation on DynamoDB needs, with time to live. Doing it again changes nothing. */
export async function createTables({ region, tablePrefix, storage }: Config): Promise<void> {
  if (storage.kind === 'embedded') throw new Error('The embedded engine makes its own tables; set STORAGE=dynamodb.');
  const endpoint = storage.endpoint ? { endpoint: storage.endpoint } : {};
  const db = createDynamoDb({ region, tablePrefix, cursorSecret: '', clock: systemClock, ...endpoint });
  await db.createTables();
  await db.enableTimeToLive();
  db.close();
  say(`The tables ${tablePrefix}app, ${tablePrefix}usage and ${tablePrefix}audit are there.`);
}

/** `npm run turns:parked`: the turns that were put aside, of all tenants. With the embedded engine, stop the server first. */
export async function listParkedTurns(config: Config, surroundings: Surroundings): Promise<void> {
  const { db, engine } = await openStorage(config, surroundings);
  try {
    const parked = await db.due.parked();
    for (const { tenantId, turnId, parkedAt } of parked) say(`${tenantId} ${turnId}, put aside at ${parkedAt}`);
    if (parked.length === 0) say('No turn was put aside.');
  } finally {
    db.close();
    await engine.close();
  }
}

/**
 * `npm run turns:retry`: has the turns that were put aside repaired again, by whichever instance sweeps next. With the embedded
 * engine the server has to be stopped meanwhile: the engine lives in it.
 */
export async function retryParkedTurns(config: Config, surroundings: Surroundings): Promise<void> {
  const { db, engine } = await openStorage(config, surroundings);
  try {
    const parked = await db.due.parked();
    for (const { tenantId, turnKey, turnId, parkedAt } of parked) {
      const unparked = await db.forTenant(tenantId).turns.unpark(turnKey, surroundings.clock.now());
      if (unparked) say(`${tenantId} ${turnId}, put aside at ${parkedAt}: will be repaired again.`);
    }
    if (parked.length === 0) say('No turn was put aside.');
  } finally {
    db.close();
    await engine.close();
  }
}

/** `npm run alerts:retry`: has the alerts that were put aside delivered again. With the embedded engine the server has to be stopped meanwhile. */
export async function retryParkedAlerts(config: Config, surroundings: Surroundings): Promise<void> {
  const { db, engine } = await openStorage(config, surroundings);
  try {
    const parked = await db.dueAlerts.parked();
    for (const { tenantId, name, parkedAt } of parked) {
      const unparked = await db.forTenant(tenantId).alerts.unpark(name, surroundings.clock.now());
      if (unparked) say(`${tenantId} ${name}, put aside at ${parkedAt}: will be delivered again.`);
    }
    if (parked.length === 0) say('No alert was put aside.');
  } finally {
    db.close();
    await engine.close();
  }
}

/**
 * `npm run operators:invite -- --email ADDRESS [--name NAME]`: hands out a token with which a platform operator chooses a password,
 * by the mutation `acceptInvitation`. For an operator who is there already it is a reset. With the embedded engine, stop the server first.
 */
export async function inviteOperator(
  config: Config,
  surroundings: Surroundings,
  args: readonly string[],
): Promise<void> {
  const { values } = parseArgs({ args: [...args], options: { email: { type: 'string' }, name: { type: 'string' } } });
  const email = checkEmail(values.email ?? '', '--email');
  const name = checkName(values.name ?? email, '--name');
  const { clock } = surroundings;
  const { db, engine, secrets } = await openStorage(config, surroundings);
  try {
    const { userDirectory } = db.forTenant(PLATFORM);
    const { id, token, expiresAt } = await handOut(userDirectory, { name, email }, clock);
    const record = recordAlone(db.audit, createSign(secrets.cursorSecret), clock);
    await record({ action: 'operator.invite', resource: `user/${id}`, details: {} });
    say(`A token for ${email}, good once and until ${expiresAt}:\n${token}`);
  } finally {
    db.close();
    await engine.close();
  }
}

/**
 * `npm run operators:disable -- --email ADDRESS`, and `operators:enable`: ends the sessions of an operator and keeps them out, or lets them
 * sign in again. It holds within 30 s. With the embedded engine, stop the server first.
 */
export async function setOperator(
  config: Config,
  surroundings: Surroundings,
  args: readonly string[],
  enabled: boolean,
): Promise<void> {
  const { values } = parseArgs({ args: [...args], options: { email: { type: 'string' } } });
  const email = checkEmail(values.email ?? '', '--email');
  const { db, engine, secrets } = await openStorage(config, surroundings);
  try {
    const { userDirectory: directory, sessions } = db.forTenant(PLATFORM);
    const { id, status } = await enableOperator({ directory, sessions }, email, enabled);
    const record = recordAlone(db.audit, createSign(secrets.cursorSecret), surroundings.clock);
    await record({ action: enabled ? 'operator.enable' : 'operator.disable', resource: `user/${id}`, details: {} });
    say(`${email} is ${status}.`);
  } finally {
    db.close();
    await engine.close();
  }
}

/** How far back hours are closed again when nobody says. */
const RECONCILE_DAYS = 2;

/**
 * `npm run usage:reconcile -- [--tenant SLUG] [--from DATE] [--to DATE]`: closes hours and days again, from the events, and says
 * what that changed. Hours that are not over are left alone.
 */
export async function reconcileUsage(
  config: Config,
  surroundings: Surroundings,
  args: readonly string[],
): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: { tenant: { type: 'string' }, from: { type: 'string' }, to: { type: 'string' } },
  });
  const { clock } = surroundings;
  const end = values.to === undefined ? clock.now() : Date.parse(values.to);
  const start = values.from === undefined ? end - RECONCILE_DAYS * DAY_MS : Date.parse(values.from);
  if (!(start < end)) throw new Error('--from and --to are dates, e.g. 2026-11-01, and --from is the earlier one.');
  const { db, engine } = await openStorage(config, surroundings);
  try {
    const only = values.tenant === undefined ? null : parseTenantId(values.tenant);
    if (values.tenant !== undefined && only === null) throw new Error('--tenant is no tenant.');
    let found = 0;
    for await (const tenantId of db.tenants.ids()) {
      if (only !== null && tenantId !== only) continue;
      found++;
      const { hours, days, expired, changed } = await reconcile(db.forTenant(tenantId).usage, { start, end }, clock);
      say(`${tenantId}: ${hours} hours and ${days} days closed.`);
      if (expired > 0) say(`  ${expired} hours are left as they are: their events are not kept any more.`);
      for (const { name, before, after } of changed)
        say(`  ${name}: ${before === null ? 'was open' : `${before} tokens`}, now ${after} tokens`);
    }
    if (only !== null && found === 0) throw new Error(`There is no tenant ${only}.`);
  } finally {
    db.close();
    await engine.close();
  }
}

/** Which trails a command is for, and from when to when. The platform's own is that of the tenant `platform`. */
function trailsNamed(args: readonly string[], nowMs: number) {
  const { values } = parseArgs({
    args: [...args],
    options: { tenant: { type: 'string' }, from: { type: 'string' }, to: { type: 'string' } },
  });
  const [from, to] = [Date.parse(values.from ?? '2000-01-01'), values.to ? Date.parse(values.to) : nowMs];
  if (!(from <= to)) throw new Error('--from and --to are dates, e.g. 2026-11-01, and --from is the earlier one.');
  const only =
    values.tenant === undefined ? null : values.tenant === PLATFORM ? PLATFORM : parseTenantId(values.tenant);
  if (values.tenant !== undefined && only === null) throw new Error('--tenant is no tenant.');
  return { only, from, to };
}

/** @throws where the one that is asked for has none. */
async function* trailsOf(audit: AuditTrails, only: TenantId | null): AsyncGenerator<TenantId> {
  let found = 0;
  for await (const tenantId of audit.all()) {
    if (only !== null && tenantId !== only) continue;
    found++;
    yield tenantId;
  }
  if (only !== null && found === 0) throw new Error(`There is no trail of ${only}.`);
}

/**
 * `npm run audit:verify -- [--tenant SLUG] [--from DATE] [--to DATE]`: looks whether the audit trails are as they were written, and
 * says what is not.
 */
export async function verifyAudit(config: Config, surroundings: Surroundings, args: readonly string[]): Promise<void> {
  const nowMs = surroundings.clock.now();
  const { only, from, to } = trailsNamed(args, nowMs);
  const { db, engine, secrets } = await openStorage(config, surroundings);
  try {
    const sign = createSign(secrets.cursorSecret);
    for await (const tenantId of trailsOf(db.audit, only)) {
      const span = { from: dayOf(isoTime(from)), to: dayOf(isoTime(to)), nowMs };
      const { entries, late, faults } = await verifyTrail(db.audit.of(tenantId), sign, span);
      say(
        `${tenantId}: ${entries} entries, ${faults.length === 0 ? 'as they were written' : `FAULTS: ${faults.length}`}.`,
      );
      if (late > 0) say(`  ${late} of them came after their day was sealed.`);
      for (const fault of faults) say(`  ${fault}`);
      if (faults.length > 0) process.exitCode = 1;
    }
  } finally {
    db.close();
    await engine.close();
  }
}

/**
 * `npm run audit:read -- [--tenant SLUG] [--from DATE] [--to DATE]`: writes the entries as JSON Lines. It is how the platform's
 * own trail is read, which belongs to no tenant.
 */
export async function readAudit(config: Config, surroundings: Surroundings, args: readonly string[]): Promise<void> {
  const { only, from, to } = trailsNamed(args, surroundings.clock.now());
  const { db, engine } = await openStorage(config, surroundings);
  try {
    for await (const tenantId of trailsOf(db.audit, only)) {
      const lines = createAuditExport(db.audit.of(tenantId)).text(
        { start: new Date(from), end: new Date(to + 1) },
        null,
      );
      for await (const text of lines) process.stdout.write(text);
    }
  } finally {
    db.close();
    await engine.close();
  }
}
