// What Node itself costs: an HTTP server that sends electord's headers and body, and does nothing else.
//
// Usage: PORT in the first argument; ANSWER in the environment, { headers, body } in JSON
import { createServer } from 'node:http';

const { headers, body } = JSON.parse(process.env['ANSWER'] ?? '{}') as {
  headers: Record<string, string>;
  body: string;
};
createServer((_, answer) => {
  answer.writeHead(200, headers);
  answer.end(body);
}).listen(Number(process.argv[2]), '127.0.0.1');
