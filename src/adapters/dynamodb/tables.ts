import {
  CreateTableCommand,
  DescribeTableCommand,
  ResourceInUseException,
  UpdateTimeToLiveCommand,
  waitUntilTableExists,
  type DynamoDBClient,
} from '@aws-sdk/client-dynamodb';

/** Three tables, so that permissions, retention, backup and load are set apart. All have the same generic shape. */
export interface TableNames {
  readonly app: string;
  readonly usage: string;
  readonly audit: string;
}

/** Names have at least three characters. Every index exists from the start: adding one later means filling it, and the embedded engine cannot. */
const INDEXES = ['gsi1', 'gsi2', 'gsi3', 'gsi4'] as const;

/**
 * What lists show. It leaves out the conversation's lock, so that unlocking does not write the indexes again,
 * and a message's or a document's content.
 */
const LISTED = [
  'id',
  'act',
  'uid',
  'uname',
  'title',
  'name',
  'email',
  'roles',
  'issuer',
  'agentId',
  'agentName',
  'lastSeq',
  'version',
  'createdAt',
  'state',
  'ttl',
];

const keySchema = (prefix: string) => [
  { AttributeName: `${prefix}PK`, KeyType: 'HASH' as const },
  { AttributeName: `${prefix}SK`, KeyType: 'RANGE' as const },
];

/** Creates the tables that do not exist, and waits until they can be used. */
export async function createTables(client: DynamoDBClient, names: TableNames): Promise<void> {
  await Promise.all(Object.values(names).map((name: string) => createTable(client, name)));
}

async function createTable(client: DynamoDBClient, TableName: string) {
  const attributes = ['', ...INDEXES, 'due'].flatMap((prefix) => [`${prefix}PK`, `${prefix}SK`]);
  try {
    await client.send(
      new CreateTableCommand({
        TableName,
        BillingMode: 'PAY_PER_REQUEST',
        AttributeDefinitions: attributes.map((AttributeName) => ({ AttributeName, AttributeType: 'S' })),
        KeySchema: keySchema(''),
        GlobalSecondaryIndexes: [
          ...INDEXES.map((IndexName) => ({
            IndexName,
            KeySchema: keySchema(IndexName),
            Projection: { ProjectionType: 'INCLUDE' as const, NonKeyAttributes: LISTED },
          })),
          { IndexName: 'due', KeySchema: keySchema('due'), Projection: { ProjectionType: 'KEYS_ONLY' } },
        ],
      }),
    );
  } catch (error) {
    if (!(error instanceof ResourceInUseException)) throw error;
  }
  await waitUntilTableExists({ client, maxWaitTime: 120, minDelay: 1, maxDelay: 5 }, { TableName });
}

/** Has DynamoDB delete rows after their `ttl`. The embedded engine has no such operation; reads hide such rows either way. */
export async function enableTimeToLive(client: DynamoDBClient, names: TableNames): Promise<void> {
  for (const TableName of Object.values(names) as string[]) {
    const TimeToLiveSpecification = { AttributeName: 'ttl', Enabled: true };
    await client.send(new UpdateTimeToLiveCommand({ TableName, TimeToLiveSpecification })).catch((error: unknown) => {
      // Enabling it twice is refused as a validation error.
      if (!(error instanceof Error && error.name === 'ValidationException')) throw error;
    });
  }
}

/** Resolves if the table answers. */
export async function pingTable(client: DynamoDBClient, TableName: string): Promise<void> {
  await client.send(new DescribeTableCommand({ TableName }));
}
