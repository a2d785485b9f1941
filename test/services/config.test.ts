import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readConfig } from '../../src/config.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'bedrock-graphql-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('AGENTS_FILE', () => {
  function agentsOf(...more: readonly Readonly<Record<string, unknown>>[]) {
    const path = join(folder, 'agents.json');
    const agent = { id: 'support', name: 'Support', agentId: 'AGENT12345', aliasId: 'ALIASONE' };
    writeFileSync(path, JSON.stringify(more.map((each) => ({ ...agent, ...each }))));
    const { bedrock } = readConfig({ BEDROCK: 'aws', AGENTS_FILE: path });
    return bedrock.kind === 'aws' ? bedrock.agents : [];
  }

  it('names an alias, and others that stand in for it, in their order', () => {
    const [plain, safe] = agentsOf({}, { id: 'other', fallbackAliasIds: ['ALIASTWO', 'ALIASTHREE'] });
    expect(plain?.bedrock).toEqual({ agentId: 'AGENT12345', aliasIds: ['ALIASONE'] });
    expect(safe?.bedrock.aliasIds).toEqual(['ALIASONE', 'ALIASTWO', 'ALIASTHREE']);
  });

  it('is refused with an alias that cannot be one', () => {
    expect(() => agentsOf({ fallbackAliasIds: ['not-an-id'] })).toThrow(/AGENTS_FILE: .*fallbackAliasIds/s);
  });
});

describe('secrets in embedded mode', () => {
  const key = JSON.stringify({ kty: 'EC', crv: 'P-256', x: 'x', y: 'y', d: 'd' });
  const CURSOR_SECRET = 'c'.repeat(32);

  it('are made where none is set, and are those that are set', () => {
    expect(readConfig({}).secrets).toBeNull();
    expect(readConfig({ JWT_SIGNING_KEY: key, CURSOR_SECRET }).secrets).toMatchObject({ cursorSecret: CURSOR_SECRET });
  });

  it('are refused where one of them is missing or wrong', () => {
    expect(() => readConfig({ JWT_SIGNING_KEY: key })).toThrow(/CURSOR_SECRET/);
    expect(() => readConfig({ CURSOR_SECRET })).toThrow(/JWT_SIGNING_KEY/);
    expect(() => readConfig({ JWT_SIGNING_KEY: '{"kty":"EC"}', CURSOR_SECRET })).toThrow(/JWT_SIGNING_KEY: it is no/);
  });
});

describe('PRICES_FILE', () => {
  const price = { model: 'nova', from: '2026-01-01T00:00:00Z', inputPerMillion: 1, outputPerMillion: 2 };
  const read = (prices: readonly object[]) => {
    const path = join(folder, 'prices.json');
    writeFileSync(path, JSON.stringify({ version: '1', prices }));
    return readConfig({ PRICES_FILE: path });
  };

  it('is refused where a model has two prices from the same moment, or one beyond reason', () => {
    expect(() => read([price, { ...price, from: '2026-01-01T00:00:00.000Z' }])).toThrow(
      /two prices from the same moment/,
    );
    expect(() => read([{ ...price, inputPerMillion: 10_001 }])).toThrow(/inputPerMillion/);
    expect(read([price, { ...price, from: '2026-02-01T00:00:00Z' }, { ...price, model: 'opus' }])).toBeDefined();
  });
});

it('limits of agents are read as numbers, and checked', () => {
  const limits = { AGENT_FIRST_TEXT_TIMEOUT_MS: '500', AGENT_TURN_TIMEOUT_MS: '5000', AGENT_RETRY_BASE_MS: '7' };
  expect(readConfig(limits).agentLimits).toEqual({
    ...{ firstTextTimeoutMs: 500, turnTimeoutMs: 5_000, retryBaseMs: 7 },
  });
  expect(() => readConfig({ AGENT_RETRY_BASE_MS: '0' })).toThrow('AGENT_RETRY_BASE_MS');
});

describe('the retention of usage', () => {
  it('is read by name, and what is not named keeps its default', () => {
    expect(readConfig({}).usageRetention).toEqual({ turns: 400, signIns: 400, hours: 800, days: 3650 });
    const { usageRetention } = readConfig({ USAGE_RETENTION_DAYS: 'sign-ins=30,hours=500' });
    expect(usageRetention).toEqual({ turns: 400, signIns: 30, hours: 500, days: 3650 });
  });

  it.each(['turns=6', 'turns', 'weeks=9', 'turns=9;hours=9', 'turns=801', 'hours=399', 'days=799', 'turns=-9'])(
    'is refused as %s: unknown, too short, or shorter than what it leads to',
    (text) => {
      expect(() => readConfig({ USAGE_RETENTION_DAYS: text })).toThrow(/USAGE_RETENTION_DAYS/);
    },
  );
});

describe('keys of tokens', () => {
  const key = { kty: 'EC', crv: 'P-256', x: 'eA', y: 'eQ' };

  it('that are only to verify are read without their private part', () => {
    const keys = JSON.stringify([key, { ...key, d: 'c2VjcmV0', kid: 'k' }]);
    expect(readConfig({ JWT_VERIFICATION_KEYS: keys }).jwt.verificationKeys).toEqual([key, key]);
    expect(readConfig({}).jwt.verificationKeys).toEqual([]);
  });

  it.each([
    'x',
    '{}',
    '[{}]',
    '["x"]',
    '[{"kty":"oct","k":"c2VjcmV0"}]',
    '[{"kty":"EC","crv":"P-384","x":"x","y":"y"}]',
  ])('are refused as %s, without showing them', (keys) => {
    const read = () => readConfig({ JWT_VERIFICATION_KEYS: keys });
    expect(read).toThrow('JWT_VERIFICATION_KEYS');
    expect(read).not.toThrow('c2VjcmV0');
  });
});

describe('TRUSTED_PROXIES', () => {
  it('is a list of addresses and networks; nobody is trusted by default', () => {
    expect(readConfig({ TRUSTED_PROXIES: '10.0.0.0/8, 192.168.1.7,fd00::/8' }).trustedProxies).toEqual([
      '10.0.0.0/8',
      '192.168.1.7',
      'fd00::/8',
    ]);
    expect(readConfig({}).trustedProxies).toEqual([]);
  });

  it.each(['true', 'proxy.example', '10.0.0.0/33', '10.0.0.0/', '10.0.0/8', '10.0.0.0/8/8', '0.0.0.0/0', '::/0'])(
    'is not %s',
    (proxies) => {
      expect(() => readConfig({ TRUSTED_PROXIES: proxies })).toThrow('TRUSTED_PROXIES');
    },
  );
});
