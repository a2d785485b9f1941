import DataLoader from 'dataloader';
import { isOwnerId } from '../tenancy/principal.ts';
import type { User } from './model.ts';
import type { UserStore } from './ports.ts';

/** Reads users of one tenant, API keys among them, by id, all of one tick in one call. Made anew for every request and every subscription event. */
export const createUserLoader = (store: UserStore): DataLoader<string, User | null> =>
  new DataLoader<string, User | null>(async (ids) => {
    const users = await store.getMany(ids.filter(isOwnerId));
    const byId = new Map(users.map((user) => [user?.id, user]));
    return ids.map((id) => byId.get(id) ?? null);
  });
