import type { RetrievalFilter } from './filters.ts';
import { parseFilter } from './filters.ts';
import type { JsonObject } from './json-fields.ts';
import {
  asArray,
  asFlag,
  asObject,
  asOptionalArray,
  asOptionalObject,
  asString,
  asStringMap,
  asWhole,
} from './json-fields.ts';
import { invalid } from './service-error.ts';
import type { Turn } from './sessions.ts';

/** Which agent, alias and session a request's path names. */
export interface InvokeTarget {
  readonly agentId: string;
  readonly aliasId: string;
  readonly sessionId: string;
}

/** How one knowledge base is to be searched in this call. */
export interface RetrievalSettings {
  readonly filter: RetrievalFilter | null;
  readonly resultsMax: number | null;
}

/** What the client says a tool returned. */
export interface ToolResult {
  readonly tool: string;
  readonly body: string;
  readonly failed: boolean;
  readonly denied: boolean;
}

/** The body of InvokeAgent, checked. */
export interface InvokeRequest {
  readonly inputText: string;
  readonly memoryId: string | null;
  readonly enableTrace: boolean;
  readonly endSession: boolean;
  readonly streamFinalResponse: boolean;
  readonly sessionAttributes: Readonly<Record<string, string>>;
  readonly promptSessionAttributes: Readonly<Record<string, string>>;
  readonly retrieval: ReadonlyMap<string, RetrievalSettings>;
  /** Turns from before the session, as the client tells them. */
  readonly history: readonly Turn[];
  readonly toolReturn: { readonly invocationId: string; readonly results: readonly ToolResult[] } | null;
}

// Limits of bedrock.md §1.1, which the SDK does not check.
const RESOURCE_ID = /^[0-9a-zA-Z]{1,10}$/;
const SESSION_ID = /^[0-9a-zA-Z._:-]{2,100}$/;
const INPUT_TEXT_MAX = 25_000_000;
const TOOL_RESULTS_MAX = 5;
const RESULTS_MAX = 100;

const PATH = /^\/agents\/([^/]*)\/agentAliases\/([^/]*)\/sessions\/([^/]*)\/text$/;

/**
 * Reads the target from a request URL, or null when it is not InvokeAgent's path.
 *
 * @throws ValidationException when it is, but an identifier breaks the service's rules.
 */
export const parseTarget = (url: string): InvokeTarget | null => {
  // Not `new URL`: it would resolve a session id of ".." away instead of showing it.
  const match = PATH.exec(url.split('?')[0] ?? '');
  if (!match) return null;
  const [agentId = '', aliasId = '', sessionId = ''] = match.slice(1).map(decodeLabel);
  if (!RESOURCE_ID.test(agentId)) throw invalid(`agentId must match ${RESOURCE_ID.source}`);
  if (!RESOURCE_ID.test(aliasId)) throw invalid(`agentAliasId must match ${RESOURCE_ID.source}`);
  if (!SESSION_ID.test(sessionId)) throw invalid(`sessionId must match ${SESSION_ID.source}`);
  return { agentId, aliasId, sessionId };
};

const decodeLabel = (label: string): string => {
  try {
    return decodeURIComponent(label);
  } catch {
    throw invalid('the path is not valid percent-encoding');
  }
};

/**
 * Checks a request body as the service would.
 *
 * @throws ValidationException naming the member, for malformed JSON and for anything the service documents as wrong.
 */
export const parseInvokeRequest = (body: string): InvokeRequest => {
  const root = asObject(parseJson(body), 'the body');
  const state = asOptionalObject(root['sessionState'], 'sessionState');
  const streaming = asOptionalObject(root['streamingConfigurations'], 'streamingConfigurations');
  const toolReturn = parseToolReturn(state);
  return {
    memoryId: parseMemoryId(root['memoryId']),
    inputText: toolReturn ? '' : parseInputText(root['inputText']),
    enableTrace: asFlag(root['enableTrace'], 'enableTrace'),
    endSession: asFlag(root['endSession'], 'endSession'),
    streamFinalResponse: asFlag(streaming['streamFinalResponse'], 'streamingConfigurations.streamFinalResponse'),
    sessionAttributes: asStringMap(state['sessionAttributes'], 'sessionState.sessionAttributes'),
    promptSessionAttributes: asStringMap(state['promptSessionAttributes'], 'sessionState.promptSessionAttributes'),
    retrieval: parseRetrieval(state),
    history: parseHistory(state),
    toolReturn,
  };
};

const parseJson = (body: string): unknown => {
  try {
    return JSON.parse(body);
  } catch {
    throw invalid('the body is not valid JSON');
  }
};

const parseMemoryId = (value: unknown): string | null => {
  if (value === undefined || value === null) return null;
  const memoryId = asString(value, 'memoryId');
  if (!SESSION_ID.test(memoryId)) throw invalid(`memoryId must match ${SESSION_ID.source}`);
  return memoryId;
};

const parseInputText = (value: unknown): string => {
  const inputText = asString(value, 'inputText');
  if (inputText === '') throw invalid('inputText must not be empty');
  if (inputText.length > INPUT_TEXT_MAX) throw invalid(`inputText must have at most ${INPUT_TEXT_MAX} characters`);
  return inputText;
};

const parseRetrieval = (state: JsonObject): ReadonlyMap<string, RetrievalSettings> => {
  const path = 'sessionState.knowledgeBaseConfigurations';
  const configurations = state['knowledgeBaseConfigurations'];
  const members = asOptionalArray(configurations, path);
  if (Array.isArray(configurations) && members.length === 0) throw invalid(`${path} must have at least 1 member`);
  const retrieval = new Map<string, RetrievalSettings>();
  members.forEach((member, index) => {
    const configuration = asObject(member, `${path}[${index}]`);
    const id = asString(configuration['knowledgeBaseId'], `${path}[${index}].knowledgeBaseId`);
    if (!RESOURCE_ID.test(id)) throw invalid(`${path}[${index}].knowledgeBaseId must match ${RESOURCE_ID.source}`);
    if (retrieval.has(id)) throw invalid(`${path} names ${id} twice`);
    retrieval.set(id, parseSettings(configuration, `${path}[${index}].retrievalConfiguration`));
  });
  return retrieval;
};

const parseSettings = (configuration: JsonObject, path: string): RetrievalSettings => {
  const retrieval = asObject(configuration['retrievalConfiguration'], path);
  const kind = retrieval['managedSearchConfiguration'] ? 'managedSearchConfiguration' : 'vectorSearchConfiguration';
  const search = asOptionalObject(retrieval[kind], `${path}.${kind}`);
  const { filter = null, numberOfResults = null } = search;
  return {
    filter: filter === null ? null : parseFilter(filter, `${path}.${kind}.filter`),
    resultsMax:
      numberOfResults === null ? null : asWhole(numberOfResults, `${path}.${kind}.numberOfResults`, 1, RESULTS_MAX),
  };
};

const parseHistory = (state: JsonObject): readonly Turn[] => {
  const path = 'sessionState.conversationHistory';
  const messages = asOptionalArray(
    asOptionalObject(state['conversationHistory'], path)['messages'],
    `${path}.messages`,
  );
  const turns: Turn[] = [];
  messages.forEach((member, index) => {
    const message = asObject(member, `${path}.messages[${index}]`);
    const text = parseContent(message['content'], `${path}.messages[${index}].content`);
    const question = turns.at(-1)?.question;
    if (message['role'] === 'user') turns.push({ question: text, answer: '' });
    else if (message['role'] !== 'assistant')
      throw invalid(`${path}.messages[${index}].role must be user or assistant`);
    else if (question !== undefined) turns[turns.length - 1] = { question, answer: text };
  });
  return turns;
};

const parseContent = (value: unknown, path: string): string =>
  asArray(value, path)
    .map((block, index) => asString(asObject(block, `${path}[${index}]`)['text'], `${path}[${index}].text`))
    .join('\n');

const parseToolReturn = (state: JsonObject): InvokeRequest['toolReturn'] => {
  const path = 'sessionState.returnControlInvocationResults';
  const given = state['returnControlInvocationResults'];
  if (given === undefined || given === null) return null;
  const members = asArray(given, path);
  if (members.length < 1 || members.length > TOOL_RESULTS_MAX)
    throw invalid(`${path} must have 1 to ${TOOL_RESULTS_MAX} members`);
  return {
    invocationId: asString(state['invocationId'], 'sessionState.invocationId'),
    results: members.map((member, index) => parseToolResult(member, `${path}[${index}]`)),
  };
};

const parseToolResult = (value: unknown, path: string): ToolResult => {
  const member = asObject(value, path);
  if (Object.keys(member).length !== 1) throw invalid(`${path} must have exactly one key`);
  const isFunction = 'functionResult' in member;
  const result = asObject(
    isFunction ? member['functionResult'] : member['apiResult'],
    `${path}.${isFunction ? 'functionResult' : 'apiResult'}`,
  );
  asString(result['actionGroup'], `${path}.actionGroup`);
  return {
    tool: asString(
      isFunction ? result['function'] : result['apiPath'],
      `${path}.${isFunction ? 'function' : 'apiPath'}`,
    ),
    body: parseResponseBody(result['responseBody'], `${path}.responseBody`),
    failed: result['responseState'] === 'FAILURE',
    denied: result['confirmationState'] === 'DENY',
  };
};

const parseResponseBody = (value: unknown, path: string): string =>
  Object.entries(asOptionalObject(value, path))
    .map(([type, content]) => asObject(content, `${path}.${type}`)['body'])
    .map((body) => (body === undefined ? '' : asString(body, path)))
    .join('\n');
