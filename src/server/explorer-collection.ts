import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

/** An operation of the starter collection: `explorer/operations/<name>.graphql`, and `<name>.json` where it has variables. */
export interface StarterOperation {
  /** The first comment of the document, e.g. `Send a message`. */
  readonly title: string;
  readonly query: string;
  /** As JSON; `{{name}}` is something remembered of an earlier answer, or `monthStart` and `monthEnd`. */
  readonly variables: string;
  /** What is remembered of the answer: a name, and the path of its value in the data. */
  readonly remember: Readonly<Record<string, string>>;
}

const FOLDER = join(import.meta.dirname, '../../explorer/operations');

/** Stands for the session in Altair's headers (`explorer/credentials.js`). */
const HEADERS = { authorization: 'Bearer SESSION' };

const ID = 'starter-collection';

function readSettings(path: string): Pick<StarterOperation, 'variables' | 'remember'> {
  const [found] = globSync(path);
  const settings = found === undefined ? {} : (JSON.parse(readFileSync(found, 'utf8')) as Partial<Settings>);
  return { variables: JSON.stringify(settings.variables ?? {}, null, 2), remember: settings.remember ?? {} };
}

interface Settings {
  readonly variables: object;
  readonly remember: Readonly<Record<string, string>>;
}

/** The starter operations, in the order in which they work one after the other. */
export const readStarterOperations = (): readonly StarterOperation[] =>
  globSync(join(FOLDER, '*.graphql'))
    .sort()
    .map((path) => {
      const query = readFileSync(path, 'utf8');
      const [, title = basename(path)] = /^# (.+)/.exec(query) ?? [];
      return { title, query, ...readSettings(path.replace(/graphql$/, 'json')) };
    });

/** Runs in a worker of Altair's before the request: `{{monthStart}}` and `{{monthEnd}}` are those of the current UTC month. */
const MONTH_SCRIPT = `const now = new Date();
const monthsFirst = (months) => new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + months)).toISOString();
altair.helpers.setEnvironment('monthStart', monthsFirst(0));
altair.helpers.setEnvironment('monthEnd', monthsFirst(1));
`;

/** Runs in a worker of Altair's after the answer, which it is given as text. */
function rememberScript({ remember }: StarterOperation): string {
  const names = Object.entries(remember);
  if (names.length === 0) return '';
  return [
    'const { body } = altair.response;',
    "const answer = typeof body === 'string' ? JSON.parse(body) : body;",
    ...names.flatMap(([name, path]) => [
      `const ${name} = answer.data?.${path.replaceAll('.', '?.')};`,
      `if (${name}) altair.helpers.setEnvironment('${name}', ${name}, true);`,
    ]),
    '',
  ].join('\n');
}

const needsMonth = ({ variables }: StarterOperation): boolean => variables.includes('{{month');

/** A tab of Altair, by the names of its options. */
export const starterTab = (operation: StarterOperation) => ({
  initialName: operation.title,
  initialQuery: operation.query,
  initialVariables: operation.variables,
  initialHeaders: HEADERS,
  initialSubscriptionsPayload: HEADERS,
  initialSubscriptionRequestHandlerId: 'graphql-ws' as const,
  ...(needsMonth(operation) && { initialPreRequestScript: MONTH_SCRIPT }),
  initialPostRequestScript: rememberScript(operation),
});

/** The starter collection as a row of Altair's database, which sorts by time. */
export const starterCollection = (operations: readonly StarterOperation[]) => ({
  id: ID,
  title: 'Start here',
  description: 'Operations that work one after the other.',
  storageType: 'local',
  workspaceId: 'local',
  parentPath: '',
  created_at: 0,
  updated_at: 0,
  queries: operations.map((operation, index) => ({
    version: 1,
    type: 'window',
    id: `${ID}-${index}`,
    storageType: 'local',
    windowName: operation.title,
    apiUrl: '',
    query: operation.query,
    variables: operation.variables,
    headers: Object.entries(HEADERS).map(([key, value]) => ({ key, value, enabled: true })),
    subscriptionUrl: '',
    subscriptionConnectionParams: JSON.stringify(HEADERS),
    subscriptionRequestHandlerId: 'graphql-ws',
    preRequestScript: needsMonth(operation) ? MONTH_SCRIPT : '',
    preRequestScriptEnabled: needsMonth(operation),
    postRequestScript: rememberScript(operation),
    postRequestScriptEnabled: rememberScript(operation) !== '',
    created_at: index + 1,
    updated_at: index + 1,
  })),
});
