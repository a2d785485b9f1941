import { request } from 'node:http';

const TIMEOUT_MS = 10_000;

/** dynalite wants a signature but does not verify it. */
const HEADERS = {
  'Content-Type': 'application/x-amz-json-1.0',
  'X-Amz-Date': '20200101T000000Z',
  Authorization: 'AWS4-HMAC-SHA256 Credential=engine, SignedHeaders=host, Signature=none',
};

export interface Call {
  readonly host: string;
  readonly port: number;
  /** Of DynamoDB's API, e.g. `ListTables`. */
  readonly operation: string;
  readonly input: object;
}

/** One request to the engine, and what it answers; rejects when it refuses or does not answer. */
export const call = <T>({ host, port, operation, input }: Call): Promise<T> =>
  new Promise((resolve, reject) => {
    const headers = { ...HEADERS, 'X-Amz-Target': `DynamoDB_20120810.${operation}` };
    const asked = request({ host, port, method: 'POST', headers, agent: false, timeout: TIMEOUT_MS });
    asked.on('response', (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part)).on('error', reject);
      response.on('end', () => {
        const body = Buffer.concat(parts).toString();
        if (response.statusCode === 200) resolve(JSON.parse(body) as T);
        else reject(new Error(`the DynamoDB engine answered ${operation} with ${response.statusCode}`));
      });
    });
    asked.on('timeout', () => asked.destroy(new Error(`the DynamoDB engine did not answer within ${TIMEOUT_MS} ms`)));
    asked.on('error', reject);
    asked.end(JSON.stringify(input));
  });
