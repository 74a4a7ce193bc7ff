// A read-write service, one of three replicas: it keeps orders in memory and takes a write only in a term that is not
// older than the newest it has seen. Whatever stands before it sends it what is for the leader; electord says which term
// that was for. node service.mjs NAME PORT
import { createServer } from 'node:http';

const [name = 'app', port = '8080'] = process.argv.slice(2);
const orders = [];
let newestTerm = 0n;

createServer((request, response) => {
  const answer = (status, body) => {
    response.writeHead(status, { 'Content-Type': 'application/json' });
    response.end(JSON.stringify({ by: name, ...body }));
  };
  if (request.method !== 'POST') return answer(200, { orders: orders.length });
  let order = '';
  request.setEncoding('utf8').on('data', (part) => (order += part));
  request.on('end', () => {
    // Behind another proxy than electord's there is no term in the request: then ask the sidecar for a hold, as the
    // README shows.
    const term = BigInt(request.headers['x-electord-fencing-token'] ?? newestTerm);
    if (term < newestTerm) return answer(409, { why: 'this write is of a term that is over' });
    newestTerm = term;
    orders.push(order);
    answer(201, { order: orders.length });
  });
}).listen(Number(port), '127.0.0.1');
