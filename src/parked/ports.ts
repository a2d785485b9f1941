import type { Page, PageRequest } from '../kernel/page.ts';
import type { ParkedWork } from './model.ts';

/** The work of one tenant that was put aside. What it holds is never read here, only which work it is. */
export interface ParkedWorkStore {
  /** Put aside last comes first. @throws BAD_USER_INPUT for a cursor of another list. */
  list(page: PageRequest): Promise<Page<ParkedWork>>;
}
