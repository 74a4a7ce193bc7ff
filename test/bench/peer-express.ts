// The same answer as peer-bare's, from Express.
//
// Usage: PORT in the first argument; ANSWER in the environment, { headers, body } in JSON
import express from 'express';

const { headers, body } = JSON.parse(process.env['ANSWER'] ?? '{}') as {
  headers: Record<string, string>;
  body: string;
};
express()
  .disable('x-powered-by')
  .disable('etag')
  .get('/leader', (_, answer) => {
    answer.status(200).set(headers).send(body);
  })
  .listen(Number(process.argv[2]), '127.0.0.1');
