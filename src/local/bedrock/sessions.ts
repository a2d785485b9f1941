import { createHash } from 'node:crypto';
import type { Emulation } from './emulation.ts';

/** A question that was answered. */
export interface Turn {
  readonly question: string;
  readonly answer: string;
}

/** A tool call the client has yet to answer. */
export interface PendingTool {
  readonly invocationId: string;
  readonly tool: string;
  readonly question: string;
  /** The tool call's own settings; its pace and chunk count also hold for the answer that follows. */
  readonly emulation: Emulation;
}

/** What an agent remembers of one session. */
export interface Session {
  /** The latest turns, oldest first. */
  readonly turns: readonly Turn[];
  /** All questions answered in the session, including those no longer in `turns`. */
  readonly questionsCount: number;
  readonly pending: PendingTool | null;
}

/** Sessions and attempts, in memory, each bounded by forgetting the least recently used. */
export interface SessionStore {
  get(key: string): Session | undefined;
  put(key: string, session: Session): void;
  forget(key: string): void;
  /** Counts one more attempt at the same thing and says the how manieth it is. */
  countAttempt(...identity: readonly string[]): number;
}

const TURNS_KEPT = 20;
const TEXT_KEPT_MAX = 2_000;

/** A short, stable name for any combination of texts. */
export const fingerprint = (...parts: readonly string[]): string =>
  createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32);

const keep = <Value>(map: Map<string, Value>, key: string, value: Value, max: number): void => {
  map.delete(key);
  map.set(key, value);
  const oldest = map.size > max ? map.keys().next().value : undefined;
  if (oldest !== undefined) map.delete(oldest);
};

/** An empty store for at most `sessionsMax` sessions. */
export const createSessionStore = (sessionsMax = 1_000): SessionStore => {
  const sessions = new Map<string, Session>();
  const attempts = new Map<string, number>();
  return {
    get(key) {
      const session = sessions.get(key);
      if (session) keep(sessions, key, session, sessionsMax);
      return session;
    },
    put: (key, session) => keep(sessions, key, session, sessionsMax),
    forget: (key) => void sessions.delete(key),
    countAttempt(...identity) {
      const key = fingerprint(...identity);
      const attempt = (attempts.get(key) ?? 0) + 1;
      keep(attempts, key, attempt, sessionsMax * TURNS_KEPT);
      return attempt;
    },
  };
};

/** A session that remembers these turns, as if they had been asked here. */
export const sessionOf = (turns: readonly Turn[]): Session => ({
  turns: turns.slice(-TURNS_KEPT),
  questionsCount: turns.length,
  pending: null,
});

/** The session after one more answered question; it waits for no tool any more. */
export const withTurn = (session: Session, { question, answer }: Turn): Session => ({
  turns: [...session.turns, { question: shorten(question), answer: shorten(answer) }].slice(-TURNS_KEPT),
  questionsCount: session.questionsCount + 1,
  pending: null,
});

const shorten = (text: string): string => text.slice(0, TEXT_KEPT_MAX).toWellFormed();
