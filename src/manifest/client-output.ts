import type { CodegenConfig } from '@graphql-codegen/cli';

/** What a client is generated like, here and in builds of their own (`docs/frontend.md`). */
export const CLIENT_OUTPUT: CodegenConfig['generates'][string] = {
  preset: 'client',
  presetConfig: { fragmentMasking: false, persistedDocuments: { hashAlgorithm: 'sha256' } },
  config: {
    useTypeImports: true,
    enumsAsTypes: true,
    strictScalars: true,
    scalars: { ID: 'string', DateTime: 'string', JSONObject: 'Record<string, unknown>' },
  },
};
