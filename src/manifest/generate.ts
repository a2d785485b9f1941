import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { generate } from '@graphql-codegen/cli';
import { CLIENT_OUTPUT } from './client-output.ts';
import { run } from './installation.ts';

/** `npm run client:generate -- --documents GLOB --out FOLDER`: typed documents for a program's operations, and the manifest of them. */
run(async () => {
  const options = { documents: { type: 'string', multiple: true }, out: { type: 'string' } } as const;
  const { documents, out } = parseArgs({ options }).values;
  if (documents === undefined || out === undefined)
    throw new Error(
      "--documents says where the operations are, e.g. 'src/**/*.graphql', and --out what folder to write.",
    );
  const folder = out.replace(/\/*$/, '/'); // the client preset takes it for a folder by its end
  await generate(
    {
      schema: join(import.meta.dirname, '../../schema.graphql'),
      documents,
      silent: true,
      emitLegacyCommonJSImports: false,
      importExtension: '.ts',
      generates: { [folder]: CLIENT_OUTPUT },
    },
    true,
  );
  process.stdout.write(`${folder}graphql.ts and ${folder}persisted-documents.json are written.\n`);
});
