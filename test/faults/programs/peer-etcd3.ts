// A peer to hold the run's checks against: the `Election` of the etcd3 package, used as its documentation shows, behind
// the same `/leader` as ours. The run must find it claiming when it no longer leads.
//
// node peer-etcd3.mjs ID ELECTION TTL_SECONDS PORT ENDPOINT…
import { createServer } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { Etcd3, type Campaign } from 'etcd3';

/** Between a campaign that failed and the next one. */
const campaignAgainMs = 500;

const [id = '', name = '', ttl = '0', port = '0', ...hosts] = process.argv.slice(2);
const client = new Etcd3({ hosts });
const election = client.election(name, Number(ttl));
let elected: Campaign | null = null;

/** The revision that its key was created at, as far as the campaign itself knows. */
function tokenOf(campaign: Campaign): string | null {
  const { keyRevision } = campaign as unknown as { readonly keyRevision: unknown };
  return typeof keyRevision === 'string' || typeof keyRevision === 'number'
    ? String(keyRevision)
    : null;
}

/** One campaign, to its error. */
async function campaignOnce(): Promise<void> {
  const campaign = election.campaign(id);
  await new Promise<void>((resolve) => {
    campaign.on('elected', () => {
      elected = campaign;
    });
    campaign.on('error', (error: unknown) => {
      console.error(String(error));
      elected = null;
      resolve();
    });
  });
}

const server = createServer((_, response) => {
  const token = elected === null ? null : tokenOf(elected);
  const leads = token !== null;
  response.writeHead(leads ? 200 : 503, { 'content-type': 'application/json' });
  const role = leads ? 'leader' : 'follower';
  response.end(
    JSON.stringify({
      ...{ election: name, id, role, isLeader: leads, leader: null },
      ...{ fencingToken: token, validForMs: 0, observedAgeMs: null },
    }),
  );
});
server.listen(Number(port));
process.on('SIGTERM', () => {
  const resigned = elected === null ? Promise.resolve() : elected.resign();
  elected = null;
  void resigned.finally(() => process.exit(0));
});
for (;;) {
  await campaignOnce();
  await delay(campaignAgainMs);
}
