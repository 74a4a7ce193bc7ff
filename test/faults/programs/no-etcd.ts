// Runs where etcd should be, and is none: answers every request over HTTP/2 with one status and a page, speaks only
// HTTP/1.1, or takes connections and says nothing.
//
// node no-etcd.mjs LISTEN_ADDRESS PORT (STATUS | http/1.1 | nothing)
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import { createServer as createTcpServer } from 'node:net';

const [address = '', port = '0', answer = ''] = process.argv.slice(2);

function serverFor(): ReturnType<typeof createTcpServer> | ReturnType<typeof createHttp2Server> {
  if (answer === 'nothing') return createTcpServer((socket) => socket.on('error', () => undefined));
  if (answer === 'http/1.1') return createHttpServer((_, response) => response.end('hello'));
  return createHttp2Server((_, response) => {
    response.writeHead(Number(answer), { 'content-type': 'text/html' });
    response.end('<h1>not what you are looking for</h1>');
  });
}

serverFor().listen(Number(port), address, () => console.log('listening'));
