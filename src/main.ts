import { createPasswordHasher } from './adapters/argon2/password-hasher.ts';
import { createAgentMemories } from './adapters/bedrock/agent-memories.ts';
import { createAgentCall } from './adapters/bedrock/agent-runtime.ts';
import { createBedrockAgents } from './adapters/bedrock/answer-source.ts';
import { openAuditSpool } from './adapters/files/audit-spool.ts';
import { createWebhookSender } from './adapters/webhook/sender.ts';
import { createAgentCatalogue } from './agents/catalogue.ts';
import { createAlertDelivery } from './alerts/delivery.ts';
import { createAlertService } from './alerts/service.ts';
import { createSecretSeal } from './alerts/signing-secret.ts';
import { createAlertWatch, type AlertTerms } from './alerts/watch.ts';
import { createSign } from './audit/chain.ts';
import { closedFor, divertFrom } from './audit/closed-trails.ts';
import { boundDenials } from './audit/denials.ts';
import { memorySpool } from './audit/memory-segment.ts';
import { createAuditRecorder } from './audit/recorder.ts';
import { createSealer } from './audit/sealing.ts';
import { countRefusals } from './auth/attempts.ts';
import { hashChosen } from './auth/passwords.ts';
import { createStanding } from './auth/standing.ts';
import { openBedrock, openCoordination, openStorage, type Surroundings } from './backends.ts';
import {
  createSigningKey,
  createTables,
  inviteOperator,
  listParkedTurns,
  reconcileUsage,
  retryParkedAlerts,
  retryParkedTurns,
  readAudit,
  setOperator,
  verifyAudit,
} from './commands.ts';
import { processEnvironment, readConfig, startedByNpm, type Config } from './config.ts';
import { createFairQueue } from './conversations/fair-queue.ts';
import { createGenerations } from './conversations/generation.ts';
import { createRetention } from './conversations/retention.ts';
import { createSweeper } from './conversations/sweeper.ts';
import { assembleIdentity } from './identity.ts';
import { systemClock } from './kernel/clock.ts';
import { ulid } from './kernel/ids.ts';
import { demoAccounts, seedDemoData } from './local/demo-data.ts';
import { welcome } from './local/welcome.ts';
import { assembleRemoval, offboardTenants } from './offboarding.ts';
import { createPartners } from './partners/instance.ts';
import { startApp } from './server/app.ts';
import { createAuditor, recordBreaches, recordFederation, recordReuse } from './server/audit.ts';
import { createContextBinder, type TenantData } from './server/bind-tenant.ts';
import { createLogger } from './server/log.ts';
import { createMetrics } from './server/metrics.ts';
import { gaugeAlerts, gaugeAudit, gaugeRedis, gaugeTurns, observe } from './server/observation.ts';
import { createPublishedCheck } from './server/operations/published-check.ts';
import { buildPlainSchema } from './server/schema.ts';
import type { TenantId } from './tenancy/tenant-id.ts';
import { isInUse, UNLIMITED } from './tenants/model.ts';
import { createAlertPercentages } from './tenants/alert-percentages.ts';
import { createPlatformService } from './tenants/platform.ts';
import { createTenantService } from './tenants/service.ts';
import { createUsageCloser } from './usage/closing.ts';
import { createLiveUsages } from './usage/live.ts';
import { createPriceTable, NO_PRICES } from './usage/prices.ts';
import { createQuotaUpkeep } from './usage/quota-upkeep.ts';
import { createTokenQuota, useAt } from './usage/quota.ts';
import { createExportLinks } from './exports/links.ts';
import { createUsageService } from './usage/service.ts';

/** Audit entries that may wait in memory where the disk does not take them. */
const AUDIT_MEMORY_BYTES = 16_777_216;
/** How often a process that npm started looks whether npm is still there. */
const PARENT_CHECK_MS = 500;

/** Puts the whole product together, and starts it. */
export async function start(config: Config, surroundings: Surroundings) {
  const { clock, log } = surroundings;
  const metrics = createMetrics({ clock, log });
  const observation = observe({ log, metrics });
  const { db, engine, secrets } = await openStorage(config, surroundings);
  const { client, definitions, emulator } = await openBedrock(config, clock);

  const agents = createAgentCatalogue(definitions);
  const tenants = createTenantService({ directory: db.tenants, clock });
  const sign = createSign(secrets.cursorSecret);
  const sealer = createSealer({ trails: db.audit, sign, clock, log: observation.seals });
  const writer = ulid(clock.now());
  const { dir: spoolDir, bytesMax } = config.auditSpool;
  const recorder = createAuditRecorder({
    writer,
    sign,
    trails: closedFor(tenants.isGone, db.audit),
    spool: spoolDir === null ? memorySpool : await openAuditSpool(spoolDir, writer, clock),
    memoryBytesMax: AUDIT_MEMORY_BYTES,
    bytesMax,
    clock,
    log: observation.trail,
  });
  const toTrail = divertFrom(tenants.isLeaving, (fact) => recorder.record(fact));
  const record = boundDenials(toTrail, clock);
  const auditor = createAuditor({ record, exists: async (id) => (await tenants.find(id)) !== null });
  const hasher = createPasswordHasher(surroundings.passwordCost);
  const shared = openCoordination(config, surroundings);
  const liveUsages = createLiveUsages(shared.usageChanges, clock);
  const prices = config.prices ? createPriceTable(config.prices) : NO_PRICES;

  const sender = createWebhookSender({ loopback: config.webhooksToLoopback, clock });
  const seal = createSecretSeal(secrets.cursorSecret);
  const alertWatch = createAlertWatch({
    percentages: config.alertPercentages,
    storesOf: (tenantId) => db.forTenant(tenantId),
    tenants: () => db.tenants.ids(),
    async termsOf(tenantId) {
      const tenant = await db.tenants.get(tenantId);
      return tenant?.status === 'ACTIVE' ? tenant : null;
    },
    useAt: (tenantId, ms) => useAt(db.forTenant(tenantId).quota, ms),
    clock,
    log: observation.alerts,
  });
  const alertDelivery = createAlertDelivery({
    due: db.dueAlerts,
    storesOf: (tenantId) => db.forTenant(tenantId),
    sender,
    seal,
    clock,
    random: Math.random,
    log: observation.alerts,
  });

  const dataOf = (tenantId: TenantId, terms: AlertTerms = { limits: UNLIMITED }, signal?: AbortSignal): TenantData => {
    const { usage: store, quota: quotaStore, alerts: alertStore, webhook, ...stores } = db.forTenant(tenantId, signal);
    const changed = () => shared.usageChanges.changed(tenantId);
    const usage = createUsageService({ tenantId, store, prices, changed });
    const quota = createTokenQuota({
      store: quotaStore,
      limits: terms.limits,
      reserveTokens: config.quotaReserveTokens,
      changed,
      settled: (use) => alertWatch.settled(tenantId, use, terms),
    });
    const alerts = createAlertService({
      tenantId,
      alerts: alertStore,
      webhook,
      percentages: createAlertPercentages({ tenantId, directory: db.tenants, changed: tenants.changed, clock }),
      percentagesByDefault: config.alertPercentages,
      sender,
      seal,
      clock,
    });
    const limits = async () => (await tenants.find(tenantId))?.limits ?? UNLIMITED;
    const liveUsage = () => liveUsages.watch({ tenantId, store, quota: quotaStore, limits });
    const streams = shared.streamLogs.forTenant(tenantId);
    return { ...stores, usage, usageEvents: store, liveUsage, quota, meter: usage, alerts, streams };
  };
  const { auth, passwords, issuersOf, tokens, jwks, rolesNow } = await assembleIdentity({
    ...{ config, db, hasher, clock, signingKey: secrets.signingKey, attemptCounters: shared.attemptCounters },
    findTenant: (id) => tenants.find(id),
    recordSignIn: (tenantId, signIn) => dataOf(tenantId).usage.recordSignIn(signIn),
    log: { ...recordReuse(observation.auth, record), ...recordFederation(record), ...observation.issuers },
  });
  const { apiKeys, operationGate, operationUsage, ...partners } = createPartners({
    storesOf: (tenantId) => db.forTenant(tenantId),
    isOpen: async (tenantId) => isInUse(await tenants.find(tenantId)),
    refused: countRefusals(shared.attemptCounters, 'apiKey'),
    clock,
    log: observation.partners,
  });
  const queue = createFairQueue({
    options: { ...config.queue, weightOf: (tenantId) => config.tenantWeights.get(tenantId) ?? 1 },
    slots: shared.slots,
    clock,
  });
  const generations = createGenerations({
    queue,
    signals: shared.signals,
    coalesceMs: config.streamCoalesceMs,
    source: createBedrockAgents({
      ...config.agentLimits,
      call: createAgentCall({ client, clock }),
      definitionOf: (agentId) => agents.definition(agentId),
      clock,
    }),
    clock,
    log: recordBreaches(observation.turns, record),
  });
  const sweeper = createSweeper({
    due: db.due,
    storesOf: (tenantId) => dataOf(tenantId),
    clock,
    log: observation.sweeps,
  });
  const quotaUpkeep = createQuotaUpkeep({
    tenants: () => db.tenants.ids(),
    storeOf: (tenantId) => db.forTenant(tenantId).quota,
    openTurns: () => db.due.openTurns(),
    clock,
    log: observation.quotas,
  });
  gaugeTurns(metrics, queue, db.due);
  gaugeAlerts(metrics, db.dueAlerts);
  gaugeAudit(metrics, recorder);
  if (config.redisUrl !== null) gaugeRedis(metrics, shared);
  const usageCloser = createUsageCloser({
    due: db.dueHours,
    storeOf: (tenantId) => db.forTenant(tenantId).usage,
    clock,
    log: observation.closings,
  });
  const retention = createRetention({
    tenants: () => db.tenants.ids(),
    daysOf: async (tenantId) => (await tenants.find(tenantId))?.conversationRetentionDays ?? null,
    storeOf: (tenantId) => db.forTenant(tenantId).conversations,
    clock,
    log: observation.retention,
  });
  const removal = assembleRemoval({
    ...{ db, shared, sign, clock, log: observation.removals },
    memories: createAgentMemories(client, definitions),
  });
  const background = (work: Promise<void>) =>
    void work.catch((err: unknown) => log.error({ err }, 'background work failed'));

  if (config.storage.kind === 'embedded') {
    const usersOf = (home: TenantId) => db.forTenant(home).users;
    const partnersOf = (home: TenantId) => db.forTenant(home);
    await seedDemoData({ tenants: db.tenants, usersOf, partnersOf, hasher, clock, password: config.demoPassword });
  }
  const exportLinks = createExportLinks(secrets.cursorSecret, clock);
  const platform = createPlatformService({
    directory: db.tenants,
    agents,
    administrators: {
      hash: (password, who, tenant) => hashChosen(hasher, password, { ...who, tenant }, 'adminPassword'),
      verify: (password, hash) => hasher.verify(password, hash),
      ensure: (tenantId, admin) => db.forTenant(tenantId).users.ensureAdministrator(admin, clock.now()),
    },
    removals: db.removals,
    changed: tenants.changed,
    clock,
  });
  const binder = createContextBinder({
    auth,
    audit: auditor.audit,
    passwords,
    tenants,
    platform,
    directory: db.tenants,
    agents,
    dataOf,
    issuersOf,
    apiKeys,
    operationGate,
    checkOperation: createPublishedCheck(buildPlainSchema(), config.operationLimits.ceilings.partner),
    generations,
    limiter: shared.limiter,
    pointsPerMinute: config.operationLimits.pointsPerMinute,
    exportLinks,
    clock,
    background,
  });
  async function close() {
    await partners.settled();
    await auditor.idle();
    await recorder.close();
    await shared.close();
    client.destroy();
    db.close();
    await emulator.close();
    await engine.close();
  }
  const app = await startApp({
    ...config,
    demoAccounts: config.storage.kind === 'embedded' ? demoAccounts(config.demoPassword) : [],
    tokens,
    apiKeys,
    operationGate,
    operationUsage,
    standing: createStanding({ rolesNow: { ...rolesNow, API_KEY: apiKeys.rolesNow }, clock }),
    jwks,
    agents,
    binder,
    exportLinks,
    generations,
    background: [
      ...[sweeper, quotaUpkeep, usageCloser, retention, alertWatch, alertDelivery, sealer, operationUsage],
      ...(config.offboarding === 'background' ? [removal] : []),
    ],
    ping: db.ping,
    metrics,
    log,
    clock,
  }).catch(async (error: unknown) => {
    await close(); // a start that fails leaves no lock behind
    throw error;
  });
  recorder.start();
  return {
    url: app.url,
    adminUrl: app.adminUrl,
    /** What the agents were really asked, where they are emulated. */
    served: emulator.served,
    dataOf,
    /** Resolves once everything that was done so far is in the audit trail. */
    async recorded() {
      await auditor.idle();
      await recorder.idle();
    },
    async stop() {
      await app.stop();
      await close();
    },
  };
}

async function main() {
  if (process.argv[2] === 'create-signing-key') return createSigningKey(); // before there is one in the configuration
  const config = readConfig(processEnvironment());
  const log = createLogger(config.logLevel);
  const surroundings = { clock: systemClock, log };
  if (process.argv[2] === 'create-tables') return createTables(config);
  if (process.argv[2] === 'list-parked-turns') return listParkedTurns(config, surroundings);
  if (process.argv[2] === 'retry-turns') return retryParkedTurns(config, surroundings);
  if (process.argv[2] === 'retry-alerts') return retryParkedAlerts(config, surroundings);
  if (process.argv[2] === 'reconcile-usage') return reconcileUsage(config, surroundings, process.argv.slice(3));
  if (process.argv[2] === 'verify-audit') return verifyAudit(config, surroundings, process.argv.slice(3));
  if (process.argv[2] === 'read-audit') return readAudit(config, surroundings, process.argv.slice(3));
  if (process.argv[2] === 'offboard-tenants') return offboardTenants(config, surroundings);
  if (process.argv[2] === 'invite-operator') return inviteOperator(config, surroundings, process.argv.slice(3));
  if (process.argv[2] === 'disable-operator') return setOperator(config, surroundings, process.argv.slice(3), false);
  if (process.argv[2] === 'enable-operator') return setOperator(config, surroundings, process.argv.slice(3), true);
  const product = await start(config, surroundings);
  let stopping = false;
  const stop = (signal: string) => {
    stopping = true;
    log.info({ signal }, 'stopping');
    product.stop().then(
      () => process.exit(0),
      (err: unknown) => {
        log.fatal({ err }, 'stop failed');
        process.exit(1);
      },
    );
  };
  const onSignal = (signal: string) => (stopping ? process.exit(1) : stop(signal)); // asked twice: at once
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  if (startedByNpm()) onParentGone(() => stopping || stop('npm ended'));

  log.info({ url: product.url, adminUrl: product.adminUrl }, 'listening');
  if (config.storage.kind === 'embedded') process.stdout.write(welcome(product.url, config.explorer));
}

/** A signal to npm ends npm's shell and goes no further: once that is gone, nobody is left to stop this process. */
function onParentGone(gone: () => void) {
  const parent = process.ppid;
  setInterval(() => process.ppid !== parent && gone(), PARENT_CHECK_MS).unref();
}

if (import.meta.main) {
  main().catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  });
}
