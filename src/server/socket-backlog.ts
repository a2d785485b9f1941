import type { WebSocket } from 'ws';
import type { Clock } from '../kernel/clock.ts';
import type { Logger } from './log.ts';

/** The registry of RFC 6455, 11.7: try again later, which clients of graphql-ws do by themselves. */
const TRY_AGAIN_LATER = 1013;
/** How long a slow reader may take to read up to the reason, before it is cut off. */
const GOODBYE_MS = 2_000;

export interface BacklogOptions {
  /** What may wait to be read when more is to be sent. */
  readonly bytesMax: number;
  readonly log: Logger;
  readonly clock: Clock;
}

/**
 * Tells whether more may be sent on a socket, and closes one whose reader has left too much unread: what waits for a reader waits in
 * memory. It is asked before something is sent, so a single result of any size still passes. A closing socket is not listened to.
 */
export const createBacklogLimit =
  ({ bytesMax, log, clock }: BacklogOptions) =>
  (socket: WebSocket): boolean => {
    if (socket.readyState !== socket.OPEN) return false;
    const backlogBytes = socket.bufferedAmount;
    if (backlogBytes <= bytesMax) return true;
    log.info({ backlogBytes }, 'socket read too slowly');
    socket.removeAllListeners('message');
    socket.close(TRY_AGAIN_LATER, 'Reading too slowly');
    socket.once(
      'close',
      clock.after(GOODBYE_MS, () => socket.terminate()),
    );
    return false;
  };
