// An etcd of one member that keeps nothing, for the moment in which a program is tried out by the build: enough of one to be
// elected by. It checks nothing and forgets no lease; what electord promises is shown on real ones.
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { loadPackageDefinition, Server, ServerCredentials } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const etcd3 = dirname(createRequire(import.meta.url).resolve('etcd3/package.json'));
const { etcdserverpb } = loadPackageDefinition(
  loadSync(join(etcd3, 'proto/rpc.proto'), { keepCase: true, defaults: true }),
);

const none = { create_revision: 0, mod_revision: 0, version: 0, lease: 0, value: Buffer.alloc(0) };
/** By the numbers of `CompareTarget` and `CompareResult`. */
const targets = ['version', 'create_revision', 'mod_revision', 'value', 'lease'];
const results = [
  (sign) => sign === 0,
  (sign) => sign > 0,
  (sign) => sign < 0,
  (sign) => sign !== 0,
];

class Keys {
  revision = 1;
  #stored = new Map();
  #listeners = new Set();

  header() {
    return { cluster_id: 1, member_id: 1, revision: this.revision, raft_term: 1 };
  }

  /** Calls `listener` with the events of every change; returns what ends that. */
  listen(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** What `key` and `range_end` name, in the order of the keys. */
  range({ key, range_end: end }) {
    const isIn = (one) =>
      end.length === 0 ? one.equals(key) : one.compare(key) >= 0 && one.compare(end) < 0;
    return [...this.#stored.values()]
      .filter((one) => isIn(one.key))
      .sort((one, other) => one.key.compare(other.key));
  }

  ofLease = (lease) => [...this.#stored.values()].filter((one) => String(one.lease) === lease);

  txn({ compare, success, failure }) {
    const succeeded = compare.every((one) => this.#holds(one));
    const events = [];
    const responses = (succeeded ? success : failure).map((op) => this.#carryOut(op, events));
    this.#tell(events);
    return { header: this.header(), succeeded, responses };
  }

  remove(keys) {
    const events = [];
    for (const one of keys) this.#delete(one, events);
    this.#tell(events);
  }

  #holds({ result, target, key, ...wanted }) {
    const name = targets[target];
    const [has, asked] = [(this.#stored.get(String(key)) ?? none)[name], wanted[name]];
    const sign = Buffer.isBuffer(has) ? has.compare(asked) : Number(has) - Number(asked);
    return results[result](sign);
  }

  #carryOut({ request_range: range, request_put: put, request_delete_range: gone }, events) {
    if (put) {
      const { key, value, lease } = put;
      const old = this.#stored.get(String(key)) ?? none;
      const mod_revision = this.revision + 1;
      const create_revision = old.create_revision || mod_revision;
      const kv = { key, value, lease, create_revision, mod_revision, version: old.version + 1 };
      this.#stored.set(String(key), kv);
      events.push({ type: 0, kv });
      return { response_put: { header: this.header() } };
    }
    const found = this.range(range ?? gone);
    if (range) return { response_range: { kvs: found, count: found.length } };
    for (const one of found) this.#delete(one, events);
    return { response_delete_range: { deleted: found.length } };
  }

  #delete({ key }, events) {
    this.#stored.delete(String(key));
    events.push({ type: 1, kv: { key, mod_revision: this.revision + 1 } });
  }

  #tell(events) {
    if (events.length === 0) return;
    this.revision += 1;
    for (const listener of this.#listeners) listener(events);
  }
}

function watch(call, keys) {
  let stop = () => undefined;
  call.on('data', ({ create_request: asked }) => {
    if (asked) {
      call.write({ header: keys.header(), watch_id: 0, created: true });
      stop = keys.listen((events) => call.write({ header: keys.header(), watch_id: 0, events }));
    } else {
      call.write({ header: keys.header(), watch_id: -1 });
    }
  });
  call.on('end', () => {
    stop();
    call.end();
  });
}

function services(keys, url) {
  const answered = (answer) => (call, respond) =>
    respond(null, { header: keys.header(), ...answer(call.request) });
  const grantedTTL = 5;
  return {
    KV: {
      Range: answered((request) => ({ kvs: keys.range(request) })),
      Txn: answered((request) => keys.txn(request)),
    },
    Watch: { Watch: (call) => watch(call, keys) },
    Lease: {
      LeaseGrant: answered(({ ID, TTL }) => ({ ID, TTL })),
      LeaseKeepAlive: (call) => {
        call.on('data', ({ ID }) => call.write({ header: keys.header(), ID, TTL: grantedTTL }));
        call.on('end', () => call.end());
      },
      LeaseTimeToLive: answered(({ ID }) => ({ ID, TTL: grantedTTL, grantedTTL })),
      LeaseRevoke: answered(({ ID }) => void keys.remove(keys.ofLease(String(ID)))),
    },
    Cluster: { MemberList: answered(() => ({ members: [{ ID: 1, clientURLs: [url] }] })) },
    Maintenance: { Status: answered(() => ({ version: '3.5.30', leader: 1 })) },
  };
}

/** Resolves with where it is reached, and what ends it. */
export async function startSmallEtcd() {
  const server = new Server();
  const port = await new Promise((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (failure, bound) =>
      failure ? reject(failure) : resolve(bound),
    ),
  );
  const url = `http://127.0.0.1:${port}`;
  for (const [name, handlers] of Object.entries(services(new Keys(), url))) {
    server.addService(etcdserverpb[name].service, handlers);
  }
  return { url, end: () => server.forceShutdown() };
}
