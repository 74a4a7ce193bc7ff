// A sidecar made from the etcd3 package's own Election, driven the way its documentation shows: campaign, answer for as
// long as elected, resign on SIGTERM. What electord is measured against; not an example to follow.
//
// Usage: peer-etcd3 ETCD ELECTION ID TTL_SECONDS PORT_OR_SOCKET
import { createServer } from 'node:http';
import { Etcd3, type Campaign } from 'etcd3';

const [hosts = '', election = '', id = '', ttlSeconds = '5', where = '0'] = process.argv.slice(2);
const client = new Etcd3({ hosts: hosts.split(',') });
let isLeader = false;
let campaign: Campaign;

function stand(): void {
  campaign = client.election(election, Number(ttlSeconds)).campaign(id);
  campaign.on('elected', () => {
    isLeader = true;
  });
  campaign.on('error', (error) => {
    isLeader = false;
    console.error(error);
    setTimeout(stand, 1000);
  });
}

async function resign(): Promise<void> {
  isLeader = false;
  await campaign.resign();
  client.close();
  process.exit(0);
}

process.on('SIGTERM', () => void resign());
createServer((_, answer) => {
  answer.writeHead(isLeader ? 200 : 503, { 'content-type': 'application/json' });
  answer.end(JSON.stringify({ id, isLeader }));
}).listen(where.startsWith('/') ? { path: where } : { host: '127.0.0.1', port: Number(where) });
stand();
