import { readFileSync } from 'node:fs';

/** A process as told apart from a later one with the same pid. */
export interface ProcessIdentity {
  pid: number;
  /** Boot and start time; null where the system does not tell (anything but Linux), and then the pid alone decides. */
  startedAt: string | null;
}

/** Who this process is, as another process would see it. */
export const ownIdentity = (): ProcessIdentity => ({ pid: process.pid, startedAt: readStart(process.pid).startedAt });

/**
 * Whether that very process still runs. Errs towards yes: a lock taken from a living process is worse than an error
 * message. A pid given to another process by now counts as no, and so does a zombie, which can write nothing.
 */
export const isRunning = ({ pid, startedAt }: ProcessIdentity): boolean => {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
  }
  const now = readStart(pid);
  if (now.zombie) return false;
  return startedAt === null || now.startedAt === null || now.startedAt === startedAt;
};

const readStart = (pid: number): { startedAt: string | null; zombie: boolean } => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The command's name may hold spaces and brackets, so fields count from its last bracket; the first is the state.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return { startedAt: `${bootId}:${fields[19]}`, zombie: fields[0] === 'Z' || fields[0] === 'X' };
  } catch {
    return { startedAt: null, zombie: false };
  }
};
