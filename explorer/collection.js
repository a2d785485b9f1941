// Altair takes tabs from its options, but collections only from its database: the starter collection is written there before it starts.

/** Altair's database and its version as of 8.5 (Dexie multiplies its own by ten). */
const DATABASE = 'AltairDB';
const VERSION = 50;

/**
 * What Altair itself would make; it goes on from here.
 * @param {IDBDatabase} database
 */
function create(database) {
  const collections = database.createObjectStore('queryCollections', { keyPath: 'id', autoIncrement: true });
  collections.createIndex('title', 'title');
  collections.createIndex('parentPath', 'parentPath');
  database.createObjectStore('appState', { keyPath: 'key' });
  database.createObjectStore('selectedFiles', { keyPath: 'id' }).createIndex('windowId', 'windowId');
  database.createObjectStore('localActionLogs', { keyPath: 'id', autoIncrement: true });
}

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
const result = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error('The database does not answer.'));
  });

/** Whatever version an Altair has brought it to is kept. @returns {Promise<IDBDatabase>} */
async function open() {
  const known = (await indexedDB.databases()).find(({ name }) => name === DATABASE);
  const request = indexedDB.open(DATABASE, known?.version ?? VERSION);
  request.onupgradeneeded = () => create(request.result);
  return result(request);
}

/** Puts the starter collection in the place of an older one; people's own collections are left alone. @param {{ id: string }} collection */
export async function putCollection(collection) {
  const database = await open();
  await result(database.transaction('queryCollections', 'readwrite').objectStore('queryCollections').put(collection));
  database.close(); // an open connection would keep Altair from upgrading
}

/** Forgets the tabs of one user, with the answers that stand in them. @param {string} namespace */
export async function forgetTabs(namespace) {
  const database = await open();
  const tabs = IDBKeyRange.bound(`[${namespace}]`, `[${namespace}]\uffff`);
  await result(database.transaction('appState', 'readwrite').objectStore('appState').delete(tabs));
  database.close();
}
