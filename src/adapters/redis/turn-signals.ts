import type { TurnSignals } from '../../conversations/ports.ts';
import type { RedisConnection } from './connection.ts';
import type { RedisKeys } from './keys.ts';

export interface RedisTurnSignalsDependencies {
  readonly connection: RedisConnection;
  readonly keys: RedisKeys;
  readonly instanceId: string;
}

/** Tells the other instances by pub/sub which turns are to stop. What is told while Redis is away is lost. */
export function createRedisTurnSignals({ connection, keys, instanceId }: RedisTurnSignalsDependencies): TurnSignals {
  const listeners: ((turnId: string) => void)[] = [];
  const channel = keys.cancelChannel();

  void connection.subscribe(channel, (message) => {
    const [sender, turnId] = message.split(' ');
    if (sender !== instanceId && turnId) for (const listener of listeners) listener(turnId);
  });

  return {
    cancel: (turnId) => void connection.commands.publish(channel, `${instanceId} ${turnId}`).catch(() => {}),
    onCancel: (listener) => void listeners.push(listener),
  };
}
