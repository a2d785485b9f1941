import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createMemoryTurnSignals } from '../../src/adapters/memory/turn-signals.ts';
import { openInstallation, REDIS_NAME, REDIS_URL, type Installation } from '../support/redis.ts';

describe('TurnSignals on memory', () => {
  it('there is nobody to tell', () => {
    const signals = createMemoryTurnSignals();
    const heard: string[] = [];
    signals.onCancel((turnId) => heard.push(turnId));
    signals.cancel('turn-1');
    expect(heard).toEqual([]);
  });
});

describe.skipIf(!REDIS_URL)(`TurnSignals on ${REDIS_NAME}`, () => {
  const opened: Installation[] = [];
  const installation = () => {
    const each = openInstallation(REDIS_URL!);
    opened.push(each);
    return each;
  };
  let own: Installation;
  beforeEach(() => {
    own = installation();
  });
  afterEach(async () => {
    for (const each of opened.splice(0)) await each.close();
  });

  it('every other instance is told, once and in order; the one that says it is not', async () => {
    const instances = [await own.connect(), await own.connect(), await own.connect()];
    const expected = [['answer'], ['first', 'last'], ['answer', 'first', 'last']];
    const heard = instances.map(({ signals }, index) => {
      const all = Promise.withResolvers<string[]>();
      const turnIds: string[] = [];
      signals.onCancel((turnId) => {
        if (turnIds.push(turnId) === expected[index]?.length) all.resolve(turnIds);
      });
      return all.promise;
    });
    instances[0]!.signals.cancel('first');
    instances[0]!.signals.cancel('last');
    instances[1]!.signals.cancel('answer');
    const [teller, told, both] = await Promise.all(heard);
    expect([teller, told, both?.sort()]).toEqual(expected);
  });

  it('another installation on the same Redis hears nothing', async () => {
    const [one, other, foreign] = [await own.connect(), await own.connect(), await installation().connect()];
    const heard: string[] = [];
    foreign.signals.onCancel((turnId) => heard.push(turnId));
    const told = new Promise((resolve) => other.signals.onCancel(resolve));
    one.signals.cancel('turn-1');
    await told;
    await foreign.limiter.take('acme' as never, 60); // answered after whatever had been published before
    expect(heard).toEqual([]);
  });

  it('without Redis nobody is told, and nothing is thrown', async () => {
    const away = openInstallation('redis://127.0.0.1:1');
    opened.push(away);
    const instance = away.start();
    await instance.until('down');
    instance.signals.cancel('turn-1');
    expect(instance.ready()).toBe(false);
  });
});
