import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readConfig } from '../../src/config.ts';

describe('AGENTS_FILE', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'bedrock-graphql-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

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
