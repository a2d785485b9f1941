import type { ServiceErrorName } from './service-error.ts';
import { invalid, isServiceErrorName } from './service-error.ts';

/** A failure to act out: after how many chunks, and what the client meets there. */
export type Fault =
  | { readonly kind: 'error'; readonly after: number; readonly exception: ServiceErrorName }
  | { readonly kind: 'cut' | 'stall' | 'empty'; readonly after: number };

/** What `[[emulate …]]` asks for; null where it says nothing. */
export interface Emulation {
  readonly chunks: number | null;
  readonly delayMs: number | null;
  readonly inputTokens: number | null;
  readonly outputTokens: number | null;
  readonly steps: number | null;
  readonly after: number | null;
  /** How many calls the fault strikes; null: all of them. */
  readonly times: number | null;
  /** The only alias the fault strikes, by its id or its place among the agent's, from 1; null: every one. */
  readonly alias: string | null;
  readonly fault: Fault | null;
  readonly tool: string | null;
  readonly action: string | null;
  readonly foreign: string | null;
}

const BLOCK = /\[\[emulate(?:\s([^[\]]*))?\]\]/g;

/** Where cut and stall strike when `after` is absent: late enough that the client has shown some text. */
const BREAK_AFTER_CHUNKS = 2;

const WHOLE_NUMBERS = {
  chunks: [1, 10_000],
  delayMs: [0, 600_000],
  inputTokens: [0, 1_000_000_000],
  outputTokens: [0, 1_000_000_000],
  steps: [1, 50],
  after: [0, 10_000],
  times: [1, 1_000],
} as const;

const PATTERNS = {
  error: /^[A-Za-z]+$/,
  cut: /^(true|false)$/,
  stall: /^(true|false)$/,
  empty: /^(true|false)$/,
  alias: /^[0-9A-Za-z]{1,10}$/,
  tool: /^[A-Za-z0-9_-]{1,100}$/,
  action: /^[A-Za-z0-9_-]{1,100}$/,
  foreign: /^[^\s[\]]{1,100}$/,
} as const;

/**
 * Takes every `[[emulate key=value …]]` out of a message: the question that is left, and what was asked for.
 *
 * @throws ValidationException naming the key, if it is unknown, given twice or has a bad value: a typo must not pass as success.
 */
export const parseEmulation = (inputText: string): { question: string; emulation: Emulation } => {
  const settings = new Map<string, string>();
  const question = inputText.replace(BLOCK, (_block, body: string | undefined) => {
    for (const setting of (body ?? '').split(/\s+/).filter(Boolean)) addSetting(settings, setting);
    return '';
  });
  if (question.includes('[[emulate')) throw invalid('[[emulate is not closed by ]]');
  return { question: question.replace(/\s+/g, ' ').trim(), emulation: toEmulation(settings) };
};

const addSetting = (settings: Map<string, string>, setting: string): void => {
  const [key = '', ...rest] = setting.split('=');
  const value = rest.join('=');
  if (settings.has(key)) throw invalid(`[[emulate]] has the key '${key}' twice`);
  if (Object.hasOwn(WHOLE_NUMBERS, key)) checkWhole(key as keyof typeof WHOLE_NUMBERS, value);
  else if (Object.hasOwn(PATTERNS, key)) checkPattern(key as keyof typeof PATTERNS, value);
  else throw invalid(`[[emulate]] does not know the key '${key}'`);
  settings.set(key, value);
};

const checkWhole = (key: keyof typeof WHOLE_NUMBERS, value: string): void => {
  const [min, max] = WHOLE_NUMBERS[key];
  if (!/^\d{1,10}$/.test(value) || Number(value) < min || Number(value) > max)
    throw invalid(`[[emulate]] ${key} must be a whole number from ${min} to ${max}, not '${value}'`);
};

const checkPattern = (key: keyof typeof PATTERNS, value: string): void => {
  if (!PATTERNS[key].test(value) || (key === 'error' && !isServiceErrorName(value)))
    throw invalid(`[[emulate]] ${key} cannot be '${value}'`);
};

const toEmulation = (settings: ReadonlyMap<string, string>): Emulation => {
  const whole = (key: keyof typeof WHOLE_NUMBERS): number | null => {
    const value = settings.get(key);
    return value === undefined ? null : Number(value);
  };
  return {
    chunks: whole('chunks'),
    delayMs: whole('delayMs'),
    inputTokens: whole('inputTokens'),
    outputTokens: whole('outputTokens'),
    steps: whole('steps'),
    after: whole('after'),
    times: whole('times'),
    alias: settings.get('alias') ?? null,
    fault: toFault(settings, whole('after')),
    tool: settings.get('tool') ?? null,
    action: settings.get('action') ?? null,
    foreign: settings.get('foreign') ?? null,
  };
};

const toFault = (settings: ReadonlyMap<string, string>, after: number | null): Fault | null => {
  const faults: Fault[] = [];
  const exception = settings.get('error');
  if (exception !== undefined && isServiceErrorName(exception))
    faults.push({ kind: 'error', after: after ?? 0, exception });
  if (settings.get('empty') === 'true') faults.push({ kind: 'empty', after: 0 });
  for (const kind of ['cut', 'stall'] as const)
    if (settings.get(kind) === 'true') faults.push({ kind, after: after ?? BREAK_AFTER_CHUNKS });
  if (faults.length > 1) throw invalid('[[emulate]] takes only one of error, cut, stall and empty');
  return faults[0] ?? null;
};
