// What --publish takes and refuses, and what of its placeholders a sidecar fills in before any term begins.
import { describe, expect, it } from 'vitest';
import { loadConfiguration } from '../../src/config/configuration.ts';

const load = (flags: Record<string, string | readonly string[]>, environment = {}, file = '') =>
  loadConfiguration({
    flags: { election: 'orders', id: 'orders-0', advertise: '10.0.0.1:5432', ...flags },
    environment,
    readFile: () => file,
    hostName: 'host',
    addresses: ['10.0.0.1'],
    hasIpv6: true,
  });

const publish = (...entries: readonly string[]) => load({ publish: entries });

function published(result: ReturnType<typeof load>) {
  if (!result.ok) throw new Error(result.faults.map(({ problem }) => problem).join('; '));
  return result.configuration.publish;
}
const problems = (result: ReturnType<typeof load>): readonly string[] =>
  result.ok ? [] : result.faults.map(({ setting, problem }) => `${setting} ${problem}`);

describe('--publish', () => {
  it('fills in what is known, and leaves the braces of JSON alone', () => {
    const value =
      '{"host":"{host}","port":{port},"text":"{id} at {address}, {token} of {election}"}';
    expect(published(publish(`/skydns/local/example/db/x1=${value}`))).toEqual([
      {
        key: '/skydns/local/example/db/x1',
        value:
          '{"host":"10.0.0.1","port":5432,"text":"orders-0 at 10.0.0.1:5432, {token} of {election}"}',
      },
    ]);
    const of = (advertise: string) =>
      published(load({ advertise, publish: 'k={host} {port} {address}' }))[0]?.value;
    expect(of('[fd00::1]:80')).toBe('fd00::1 80 [fd00::1]:80');
    expect(of('https://db.example/x')).toBe('db.example 443 https://db.example/x');
  });

  it('takes several: the flag again, a line each, a list; commas belong to the values', () => {
    const both = [
      { key: '/a', value: '1,2' },
      { key: 'b', value: '/c=3' },
    ];
    expect(published(publish('/a=1,2', 'b=/c=3'))).toEqual(both);
    expect(published(load({}, { ELECTORD_PUBLISH: '/a=1,2\n\n  b=/c=3\n' }))).toEqual(both);
    const file = 'publish:\n  - "/a=1,2"\n  - "b=/c=3"\n';
    expect(published(load({ config: 'x.yaml' }, {}, file))).toEqual(both);
    expect(published(load({}))).toEqual([]);
  });

  it.each([
    ['/a', 'is not KEY=VALUE'],
    ['=b', 'is not KEY=VALUE'],
    ['/a=', 'without a value'],
    ['/a b=c', 'a space'],
    ['/{id}=c', 'other braces than {election}'],
    ['/a={adress}', 'has {adress} in a value'],
    [`/a=${'x'.repeat(4097)}`, 'longer than 4096'],
    ['/electord/orders/handover=x', 'under --prefix /electord'],
    ['/electord/else=x', 'under --prefix /electord'],
  ])('refuses %s', (entry, problem) => {
    expect(problems(publish(entry)).join()).toContain(problem);
  });

  it('refuses what two would write, and what only --advertise could tell', () => {
    expect(problems(publish('/a=1', '/a=2')).join()).toContain('names a key twice');
    const many = { election: 'orders,bills' };
    expect(problems(load({ ...many, publish: '/a={election}' })).join()).toContain('{election}');
    expect(problems(load({ ...many, publish: '/a/{election}=1' }))).toEqual([]);
    const crossing = ['/a/{election}=1', '/a/bills=2'];
    expect(problems(load({ ...many, publish: crossing })).join()).toContain('write /a/bills');
    const { advertise, ...rest } = { advertise: 'tcp://db', publish: '/a={port}' };
    expect(problems(load({ ...rest, advertise })).join()).toContain('--advertise has none');
    const silent = loadConfiguration({
      flags: { election: 'orders', publish: '/a={host}' },
      environment: {},
      readFile: () => '',
      hostName: 'host',
      addresses: [],
      hasIpv6: false,
    });
    expect(problems(silent).join()).toContain('--advertise is not given');
    expect(problems(publish(...Array.from({ length: 17 }, (_, n) => `/${n}=1`))).join()).toContain(
      'more than 16',
    );
  });
});
