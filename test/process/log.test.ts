import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { demoApiKey } from '../../src/local/demo-data.ts';
import { rawHttp } from '../support/raw-http.ts';
import { openSocket } from '../support/raw-socket.ts';
import { dataFolder, startProduct, type ProductProcess } from '../support/product-process.ts';
import { signInAt, SIGN_IN_QUERY } from '../support/remote-caller.ts';

const PASSWORD = 'correct-horse-battery';
const data = dataFolder();
let product: ProductProcess;
let url: string;
beforeAll(async () => {
  product = startProduct({
    DATA_DIR: data.path,
    DEMO_PASSWORD: PASSWORD,
    EMULATOR_CHUNKS_PER_SECOND: '100000',
    LOG_LEVEL: 'trace',
  });
  url = await product.url;
});
afterAll(async () => {
  await product.destroy();
  data.remove();
});

const operations = () => product.log().flatMap((line) => (line.operation ? [line] : []));
/** A line is written before its answer is sent, but it comes by another way. */
const expectLine = (requestId: string) =>
  expect.poll(() => operations().filter((line) => line.requestId === requestId)).toHaveLength(1);

describe('the log of the process', () => {
  it('is lines of JSON with time, level and message, and nothing else but the welcome', () => {
    const [first] = product.log();
    expect(first).toMatchObject({ level: 30, msg: 'listening', url });
    expect(String(first?.['time'])).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    expect(product.errors()).toBe('');
  });

  it('has one line for every operation, with its outcome, its caller and its request id', async () => {
    const member = await signInAt(url, { password: PASSWORD });
    const http = rawHttp(url);
    const asked = async (query: string, authorization?: string) => {
      const answer = await http.post(query, {}, authorization === undefined ? {} : { authorization });
      return answer.headers.get('x-request-id')!;
    };
    const ids = [
      await asked('query Who { viewer { id } }', `Bearer ${member.token}`),
      await asked('{ tenant { id } }'),
      await asked('{ nonsense }', `Bearer ${member.token}`),
      await asked('{', `Bearer ${member.token}`),
    ];
    for (const id of ids) await expectLine(id);
    const lines = ids.map((id) => operations().find(({ requestId }) => requestId === id)!);
    expect(lines.map(({ operation }) => operation)).toMatchObject([
      { type: 'query', name: 'Who', transport: 'http', errorCodes: [] },
      { type: 'query', transport: 'http', errorCodes: ['UNAUTHENTICATED'] },
      { transport: 'http', errorCodes: ['GRAPHQL_VALIDATION_FAILED'] },
      { transport: 'http', errorCodes: ['GRAPHQL_PARSE_FAILED'] },
    ]);
    expect(lines[0]).toMatchObject({ tenantId: 'acme', userId: member.id, ipAddress: '127.0.0.1' });
    expect(lines[1]).toMatchObject({ userId: null });
  });

  it('holds no password, no token, no text of a message and no title, whatever goes wrong', async () => {
    const SECRETS = [
      'zebra-title',
      'zebra-question',
      'zebra-variable',
      'zebra-header',
      'zebra-directive',
      'zebra-query',
    ];
    const http = rawHttp(url);
    const input = { tenant: 'acme', email: 'member@acme.example', password: PASSWORD };
    const signedIn = await http.post(
      'mutation($input: SignInInput!) { signIn(input: $input) { accessToken refreshToken } }',
      { input },
    );
    const { accessToken, refreshToken } = signedIn.body.data.signIn as { accessToken: string; refreshToken: string };
    await http.post(SIGN_IN_QUERY, { input: { ...input, password: 'wrong-zebra-password' } });
    await http.post('mutation($t: String!) { refreshSession(refreshToken: $t) { viewer { id } } }', {
      t: refreshToken,
    });
    await http.post('{ viewer { id } }', {}, { authorization: 'Bearer zebra-header' });
    const { text: apiKey } = demoApiKey('acme', PASSWORD);
    const wrongKey = apiKey.replace(/.{43}$/, 'zebra-key-'.padEnd(43, 'k'));
    for (const key of [apiKey, wrongKey, `${apiKey},${apiKey}`])
      await http.post('{ __typename }', {}, { 'x-api-key': key });
    await http.send({ body: '{"query": "{ viewer { id } } zebra-query', headers: {} });
    await http.post('{ zebra-query }', {});

    const member = await signInAt(url, { password: PASSWORD });
    const conversationId = await member.createConversation('zebra-title');
    for (const content of [
      'zebra-question',
      '[[emulate error=ThrottlingException]] zebra-question',
      '[[emulate error=ValidationException]] zebra-question',
      '[[emulate error=InternalServerException after=2]] zebra-question',
      '[[emulate cut=true]] zebra-question',
      '[[emulate zebra-directive=1]] zebra-question',
      '[[emulate foreign=KBGLOBEX01]] zebra-question',
    ]) {
      await member.send(conversationId, content, { waitForCompletion: true });
    }
    await member.run('query($id: ID!) { conversation(id: $id) { title } }', { id: conversationId });
    const bad = { input: { conversationId, content: { 'zebra-variable': 'zebra-variable' } } };
    const send = 'mutation($input: SendMessageInput!) { sendMessage(input: $input) { userMessage { id } } }';
    await http.post(send, bad, { authorization: `Bearer ${member.token}` });
    const socket = await openSocket(`${url.replace('http', 'ws')}/graphql`);
    await socket.init({ authorization: `Bearer ${member.token}`, password: PASSWORD });
    socket.subscribe('1', send, bad);
    await socket.next();
    socket.send('zebra-query');
    await socket.closed;
    const { headers } = await http.post('{ __typename }');
    await expectLine(headers.get('x-request-id')!);

    const written = product.output() + product.errors();
    const signatures = [accessToken, member.token].map((token) => token.split('.')[2]!);
    const secrets = [
      apiKey.slice(-43),
      wrongKey.slice(-43),
      PASSWORD,
      'wrong-zebra-password',
      refreshToken.split('.')[4]!,
      ...signatures,
      ...SECRETS,
    ];
    expect(secrets.filter((secret) => written.includes(secret))).toEqual([]);
  });

  it('frames that break the rules of a socket leave nothing outside the log', async () => {
    const socket = await openSocket(`${url.replace('http', 'ws')}/graphql`);
    await socket.init({});
    socket.send('x'.repeat(1024 * 1024 + 1));
    await socket.closed;
    const { headers } = await rawHttp(url).post('{ __typename }');
    await expectLine(headers.get('x-request-id')!);
    expect(product.errors()).toBe('');
  });
});
