import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSign } from '../../src/audit/chain.ts';
import { createSealer } from '../../src/audit/sealing.ts';
import { verifyTrail } from '../../src/audit/verifying.ts';
import type { TenantId } from '../../src/tenancy/tenant-id.ts';
import { aFact, SIGN, startRecorder } from '../support/audit.ts';
import { createTestClock } from '../support/clock.ts';
import { openEmbeddedStorage, type RawRow, type Storage } from '../support/dynamodb-storage.ts';

const DAY = 86_400_000;
let storage: Storage;
beforeAll(async () => {
  storage = await openEmbeddedStorage();
});
afterAll(() => storage.close());

/** A trail of three days, made by two instances at once, sealed to the end of the second; and ways to tamper with it. */
async function threeDays() {
  const tenantId = storage.tenant();
  const clock = createTestClock();
  const { audit } = storage.connect({ clock });
  const instances = [0, 1].map((n) =>
    startRecorder({ trails: audit, clock: { ...clock, now: () => clock.now() + n } }),
  );
  for (let day = 0; day < 3; day++) {
    for (let n = 0; n < 4; n++)
      for (const { recorder } of instances) recorder.record(aFact(tenantId, { details: { n } }));
    for (const { recorder } of instances) await recorder.idle();
    await clock.advance(DAY);
  }
  for (const { recorder } of instances) await recorder.close();
  const failures: unknown[] = [];
  const log = { sealed: () => {}, sealingFailed: (error: unknown) => failures.push(error) };
  // The third day is over but not sealed yet.
  const sealClock = { ...clock, now: () => clock.now() - 12 * 3_600_000 };
  await createSealer({ trails: audit, sign: SIGN, clock: sealClock, log }).round();
  expect(failures).toEqual([]);
  const verify = (sign = SIGN) =>
    verifyTrail(audit.of(tenantId), sign, { from: '20261120', to: '20261123', nowMs: sealClock.now() });
  return { tenantId, audit, verify };
}

const entriesOf = async (tenantId: TenantId): Promise<RawRow[]> =>
  (await storage.rowsOf(tenantId))
    .filter(({ PK }) => PK.includes('#A#'))
    .toSorted((a, b) => (a.PK + a.SK < b.PK + b.SK ? -1 : 1));

describe('audit:verify', () => {
  it('finds nothing wrong with two instances that wrote the same days at once', async () => {
    const { verify } = await threeDays();
    expect(await verify()).toMatchObject({ entries: 24, late: 0, faults: [] });
  });

  it('says that a trail made with another secret cannot be trusted', async () => {
    const { verify } = await threeDays();
    const { faults } = await verify(createSign('another secret, just as long as the first'));
    expect(faults).toHaveLength(24 + 2);
  });

  type Tamper = (rows: RawRow[], all: RawRow[]) => { put?: RawRow[]; remove?: RawRow[] };
  const cases: [string, Tamper, RegExp][] = [
    ['an altered entry', (rows) => ({ put: [{ ...rows[2]!, action: 'nothing.much' }] }), /was altered or inserted/],
    ['an altered detail', (rows) => ({ put: [{ ...rows[2]!, details: { n: 99 } }] }), /was altered or inserted/],
    ['a removed entry', (rows) => ({ remove: [rows[2]!] }), /1 entries before .* are gone/],
    [
      'an inserted entry',
      (rows) => ({ put: [{ ...rows[2]!, SK: `${rows[2]!.SK}X`, id: `${String(rows[2]!['id'])}X` }] }),
      /was altered or inserted/,
    ],
    [
      'two entries exchanged',
      (rows) => ({
        put: [
          { ...rows[2]!, SK: rows[4]!.SK },
          { ...rows[4]!, SK: rows[2]!.SK },
        ],
      }),
      /was moved to another place/,
    ],
    [
      'a tail cut off a sealed day',
      (rows) => ({ remove: rows.slice(6, 8) }),
      /the last \d of 4 entries of writer .* are gone/,
    ],
    [
      'a whole chain removed',
      (rows) => ({ remove: rows.slice(0, 8).filter((row) => row['writer'] === rows[0]!['writer']) }),
      /the last 4 of 4 entries of writer .* are gone/,
    ],
    [
      'a removed day, with its head and its seal',
      (_rows, all) => ({ remove: all.filter((row) => (row.PK + row.SK).includes('20261121')) }),
      /there is no seal|does not follow/,
    ],
    [
      'the last sealed day removed',
      (_rows, all) => ({ remove: all.filter((row) => (row.PK + row.SK).includes('20261121')) }),
      /20261121: there is no seal/,
    ],
    [
      'an altered seal',
      (_rows, all) => ({
        put: all
          .filter(({ PK }) => PK.endsWith('#AM'))
          .slice(0, 1)
          .map((row) => ({ ...row, chains: [] })),
      }),
      /the seal was altered/,
    ],
  ];
  it.each(cases)('finds %s', async (_what, tamper, fault) => {
    const { tenantId, verify } = await threeDays();
    const { put = [], remove = [] } = tamper(await entriesOf(tenantId), await storage.rowsOf(tenantId));
    await storage.tamper('audit', { put, remove });
    const { faults } = await verify();
    expect(faults.join('\n')).toMatch(fault);
  });
});
