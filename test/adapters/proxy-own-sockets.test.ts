// How a proxy for TCP knows its own connections: by both ends, since the system gives one port to several connections.
import { EventEmitter } from 'node:events';
import { expect, test } from 'vitest';
import { OwnSockets } from '../../src/proxy/own-sockets.ts';

const socket = (from: string, to: string) => {
  const [[localAddress, localPort], [remoteAddress, remotePort]] = [from, to].map((end) => {
    const at = end.lastIndexOf(':');
    return [end.slice(0, at), Number(end.slice(at + 1))] as const;
  }) as [readonly [string, number], readonly [string, number]];
  return Object.assign(new EventEmitter(), { localAddress, localPort, remoteAddress, remotePort });
};

/** Who is told that a connection comes back: of one that was made to `app`, and one that a client has made here. */
function told(
  app: string,
  client: string,
  order: 'made first' | 'accepted first',
): readonly string[] {
  const own = new OwnSockets();
  const calls: string[] = [];
  const made = (): void => own.made(socket('127.0.0.1:40000', app), () => calls.push('made'));
  const accepted = (): void =>
    own.accepted(socket('127.0.0.1:5001', client), () => calls.push('accepted'));
  for (const one of order === 'made first' ? [made, accepted] : [accepted, made]) one();
  return calls.sort();
}

test('a connection that is made to the proxy itself comes back, whichever end is known first', () => {
  const itself = '127.0.0.1:5001';
  expect(told(itself, '127.0.0.1:40000', 'accepted first')).toEqual(['accepted', 'made']);
  expect(told(itself, '::ffff:127.0.0.1:40000', 'made first')).toEqual(['accepted']);
});

test('one of a client with the port that another of ours to the app has is none of ours', () => {
  for (const order of ['made first', 'accepted first'] as const) {
    expect(told('127.0.0.1:8080', '127.0.0.1:40000', order)).toEqual([]);
    expect(told('127.0.0.1:5001', '127.0.0.1:40001', order)).toEqual([]);
  }
});

test('what has closed is forgotten: the port may be that of another one', () => {
  const own = new OwnSockets();
  const calls: string[] = [];
  const gone = socket('127.0.0.1:40000', '127.0.0.1:5001');
  own.made(gone, () => calls.push('made'));
  gone.emit('close');
  const later = socket('127.0.0.1:5001', '127.0.0.1:40000');
  own.accepted(later, () => calls.push('accepted'));
  later.emit('close');
  own.made(socket('127.0.0.1:40000', '127.0.0.1:5001'), () => calls.push('made'));
  expect(calls).toEqual([]);
});
