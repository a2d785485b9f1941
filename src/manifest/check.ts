import { parseArgs } from 'node:util';
import { readConfig } from '../config.ts';
import { createPublishedCheck } from '../server/operations/published-check.ts';
import { buildPlainSchema } from '../server/schema.ts';
import { run } from './installation.ts';
import { nameOf, readManifest } from './manifest.ts';

/** `npm run schema:check -- [--manifest FILE …]`: fails when an operation that somebody has published no longer fits the schema as it is in `schema/`. */
run(async () => {
  const { values } = parseArgs({ options: { manifest: { type: 'string', multiple: true } } });
  const paths = values.manifest ?? ['schema/published-operations.json'];
  const check = createPublishedCheck(buildPlainSchema(), readConfig({}).operationLimits.ceilings.partner);
  const operations = paths.flatMap((path) => [...readManifest(path)]);
  const broken = operations.flatMap(([id, body]) =>
    check(body).problems.map((problem) => `${nameOf(body)} (${id.slice(0, 12)}): ${problem}`),
  );
  if (broken.length > 0) throw new Error(`The schema breaks what partners have published:\n- ${broken.join('\n- ')}`);
  process.stdout.write(`${operations.length} published operations fit the schema.\n`);
  await Promise.resolve();
});
