// Runs on a sidecar's host and makes its link to etcd slow: a TCP relay that holds every piece back for a while, longer
// by chance. Its own connections start from a second address of the host, which the redirection does not touch.
//
// node slow-link.mjs LISTEN_ADDRESS FIRST_PORT SOURCE_ADDRESS DELAY_MS TARGET_ADDRESS… (all on etcd's client port)
import { connect, createServer, type Socket } from 'node:net';
import { etcdClientPort } from '../ports.ts';

const [listenAddress = '', firstPort = '0', sourceAddress = '', delay = '0', ...targets] =
  process.argv.slice(2);
const delayMs = Number(delay);
let carriedBytes = 0;

/** Forwards one direction: in order, each piece `delayMs` to twice that after it came. */
function forward(from: Socket, to: Socket): void {
  let dueAt = 0;
  const later = (act: () => void): void => {
    dueAt = Math.max(dueAt, performance.now() + delayMs * (1 + Math.random()));
    setTimeout(act, dueAt - performance.now());
  };
  from.on('data', (chunk: Buffer) => {
    carriedBytes += chunk.length;
    later(() => to.write(chunk));
  });
  from.on('end', () => later(() => to.end()));
  from.on('error', () => to.destroy());
  from.on('close', () => later(() => to.destroy()));
}

targets.forEach((target, index) => {
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const etcd = connect({
      host: target,
      port: etcdClientPort,
      localAddress: sourceAddress,
      allowHalfOpen: true,
    });
    for (const socket of [client, etcd]) socket.setNoDelay(true);
    forward(client, etcd);
    forward(etcd, client);
  });
  server.listen(Number(firstPort) + index, listenAddress, () => console.log('listening'));
});

setInterval(() => console.log(`carried ${carriedBytes}`), 100);
