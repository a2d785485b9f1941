import type { Passage } from './model.ts';
import { keywords, overlap } from './retrieval.ts';
import type { Session } from './sessions.ts';
import { fingerprint } from './sessions.ts';

/** A stretch of the answer and the passages it rests on. */
export interface CitedPart {
  /** Offsets into the answer in UTF-16 units; `end` is exclusive. */
  readonly start: number;
  readonly end: number;
  readonly passages: readonly Passage[];
}

/** A whole answer, before it is cut into chunks. */
export interface Answer {
  readonly text: string;
  readonly cited: readonly CitedPart[];
}

/** Everything an answer depends on: the same facts always give the same answer. */
export interface AnswerFacts {
  readonly agentName: string;
  readonly question: string;
  readonly session: Session;
  readonly passages: readonly Passage[];
  /** What a tool returned, when this answer resumes a tool call. */
  readonly toolText: string | null;
  /** The answer has at least this many words, so that it can be cut into as many chunks. */
  readonly wordsMin: number;
}

interface Sentence {
  readonly text: string;
  readonly passage?: Passage;
}

const QUOTED_PASSAGES = 2;
const QUOTE_CHARS_MAX = 90;
const TOOL_CHARS_MAX = 500;

const OPENINGS = [
  'Thanks for asking — here is what I found.',
  'I looked this up for you — our documents are clear about it.',
  'Happy to help — this is what our documents say.',
];

const CLOSINGS = [
  'If you need more detail, the {agent} agent is happy to dig deeper.',
  'Anything else? The {agent} agent is here — even before your first café au lait.',
  'The {agent} agent can tell you more — just ask.',
];

const NOTHING_FOUND = 'I found nothing about this in the documents I may read — could you put it another way?';

/**
 * Writes two to five sentences (more only if `wordsMin` asks for it) that quote the passages and refer back to earlier questions.
 *
 * Every answer contains characters outside ASCII, so that a client which decodes chunks one by one is found out.
 */
export const composeAnswer = (facts: AnswerFacts): Answer => {
  const quoted = facts.passages.slice(0, QUOTED_PASSAGES);
  const found = quoted.length > 0 || facts.toolText !== null;
  const sentences: Sentence[] = [
    { text: opening(facts) },
    ...(found ? [] : [{ text: NOTHING_FOUND }]),
    ...(facts.toolText === null ? [] : [{ text: toolSentence(facts.toolText) }]),
    ...quoted.map((passage, index) => quote(passage, index, facts)),
    { text: pick(CLOSINGS, facts, 'closing').replace('{agent}', facts.agentName) },
  ];
  return join(lengthen(sentences, facts));
};

const pick = (variants: readonly string[], { agentName, question }: AnswerFacts, salt: string): string =>
  variants[Number.parseInt(fingerprint(salt, agentName, question).slice(0, 6), 16) % variants.length] ?? '';

const opening = (facts: AnswerFacts): string => {
  const { session } = facts;
  const previous = session.turns.at(-1)?.question;
  if (previous !== undefined)
    return `This is question ${session.questionsCount + 1} of our conversation — just before it you asked “${excerpt(previous)}”.`;
  return pick(OPENINGS, facts, 'opening');
};

const toolSentence = (toolText: string): string => {
  const told = toolText.trim().slice(0, TOOL_CHARS_MAX).toWellFormed();
  return told === '' ? 'The tool returned nothing.' : `The tool — called at my request — reports: ${told}.`;
};

const quote = (passage: Passage, index: number, { question, passages }: AnswerFacts): Sentence => {
  const told = tellingSentences(passage.text, question, passages.length === 1 ? 2 : 1);
  return {
    text: index === 0 ? `According to “${passage.title}”: ${told}` : `“${passage.title}” adds: ${told}`,
    passage,
  };
};

const sentencesOf = (text: string): readonly string[] => text.match(/\S.*?[.!?](?=\s|$)|\S.*$/gs) ?? [];

/** The `count` sentences closest to the question, in the order of the document. */
const tellingSentences = (text: string, question: string, count: number): string => {
  const wanted = keywords(question);
  return sentencesOf(text)
    .map((sentence, index) => ({ sentence, index, score: overlap(wanted, sentence) }))
    .sort((a, b) => b.score - a.score)
    .slice(0, count)
    .sort((a, b) => a.index - b.index)
    .map(({ sentence }) => sentence)
    .join(' ');
};

const excerpt = (text: string): string => {
  const plain = text.replace(/\s+/g, ' ').trim();
  return plain.length <= QUOTE_CHARS_MAX ? plain : `${plain.slice(0, QUOTE_CHARS_MAX).toWellFormed()}…`;
};

const wordsIn = (text: string): number => text.match(/\S+/g)?.length ?? 0;

/** Repeats what the passages say, before the closing sentence, until there are words enough. */
const lengthen = (sentences: readonly Sentence[], facts: AnswerFacts): readonly Sentence[] => {
  const { passages, wordsMin } = facts;
  const more = passages.flatMap(({ title, text }) => sentencesOf(text).map((told) => `From “${title}”: ${told}`));
  const material =
    more.length > 0 ? more : ['There is nothing further to say — this sentence only makes the answer longer.'];
  const added: Sentence[] = [];
  let words = sentences.reduce((sum, { text }) => sum + wordsIn(text), 0);
  for (let index = 0; words < wordsMin; index += 1) {
    const text = material[index % material.length] ?? '—';
    added.push({ text });
    words += wordsIn(text);
  }
  return [...sentences.slice(0, -1), ...added, ...sentences.slice(-1)];
};

const join = (sentences: readonly Sentence[]): Answer => {
  let text = '';
  const cited: CitedPart[] = [];
  for (const sentence of sentences) {
    const start = text.length === 0 ? 0 : text.length + 1;
    text = text.length === 0 ? sentence.text : `${text} ${sentence.text}`;
    if (sentence.passage) cited.push({ start, end: text.length, passages: [sentence.passage] });
  }
  return { text, cited };
};
