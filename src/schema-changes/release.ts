import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { changesBetween, type Release } from './changes.ts';
import { policyFaults } from './policy.ts';
import { CHANGELOG, PUBLISHED, readSchema, RELEASED, today } from './schemas.ts';

/** `npm run schema:release`: what changed since the last release goes into the changelog, and is what later changes are measured by. */
const [released, current] = [readSchema(RELEASED), readSchema(PUBLISHED)];
const faults = await policyFaults(released, current, today());
if (faults.length > 0) {
  process.stderr.write(`Nothing was released:\n- ${faults.join('\n- ')}\n`);
  process.exit(1);
}
const release: Release = { date: today(), changes: await changesBetween(released, current) };
if (release.changes.length > 0) {
  const releases = JSON.parse(readFileSync(CHANGELOG, 'utf8')) as Release[];
  writeFileSync(CHANGELOG, `${JSON.stringify([release, ...releases], null, 2)}\n`);
}
copyFileSync(PUBLISHED, RELEASED);
process.stdout.write(`${release.changes.length} changes were released.\n`);
