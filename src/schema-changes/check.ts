import { changesBetween } from './changes.ts';
import { policyFaults } from './policy.ts';
import { PUBLISHED, readSchema, RELEASED, today } from './schemas.ts';

/** Part of `npm run schema:check`: fails when the schema breaks the clients of the released one before its time (`docs/schema.md`). */
const [released, current] = [readSchema(RELEASED), readSchema(PUBLISHED)];
const faults = await policyFaults(released, current, today());
if (faults.length > 0) {
  process.stderr.write(`The schema breaks what clients were promised:\n- ${faults.join('\n- ')}\n`);
  process.exit(1);
}
const changes = await changesBetween(released, current);
process.stdout.write(`${changes.length} changes since the released schema, and none that breaks a client.\n`);
