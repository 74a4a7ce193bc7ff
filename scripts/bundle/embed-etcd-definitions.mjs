// An esbuild plugin: the etcd3 package parses ../proto/rpc.proto from its own folder when it is
// imported; in a bundle of one file that folder is gone. This embeds the parsed definitions instead.
// Promises to fail the build when etcd3 no longer has the line it replaces, or when the embedded
// definitions differ from the parsed ones.
import { deepStrictEqual } from 'node:assert';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const readsTheFile = '(0, proto_loader_1.loadSync)(`${__dirname}/../proto/rpc.proto`, {';
const takesTheEmbedded = "(0, proto_loader_1.fromJSON)(require('etcd-definitions:rpc'), {";

/** @param {string} root the checkout whose node_modules holds etcd3 */
export function embedEtcdDefinitions(root) {
  return {
    name: 'embed-etcd-definitions',
    setup(build) {
      let replaced = 0;
      build.onStart(() => {
        replaced = 0;
      });
      build.onLoad({ filter: /[\\/]etcd3[\\/]lib[\\/]connection-pool\.js$/ }, async ({ path }) => {
        const parts = (await readFile(path, 'utf8')).split(readsTheFile);
        if (parts.length !== 2) {
          throw new Error(
            `${path}: expected once, found ${parts.length - 1} times: ${readsTheFile}`,
          );
        }
        replaced += 1;
        return { contents: parts.join(takesTheEmbedded), loader: 'js' };
      });
      build.onResolve({ filter: /^etcd-definitions:rpc$/ }, ({ path }) => ({
        path,
        namespace: 'etcd-definitions',
      }));
      build.onLoad({ filter: /.*/, namespace: 'etcd-definitions' }, () => ({
        contents: JSON.stringify(definitions(join(root, 'node_modules/etcd3/proto/rpc.proto'))),
        loader: 'json',
      }));
      build.onEnd(({ metafile, errors }) => {
        const has = Object.keys(metafile?.inputs ?? {}).some((path) => /\/etcd3\/lib\//.test(path));
        if (errors.length > 0 || !has || replaced === 1) return undefined;
        return {
          errors: [{ text: `etcd3 is bundled, its definitions embedded ${replaced} times` }],
        };
      });
    },
  };
}

/** The file and what it imports as protobufjs JSON, proven equal to what etcd3 would have loaded. */
function definitions(path) {
  // etcd3 may have a proto-loader of its own: the parser that it would have used is the one to trust.
  const require = createRequire(path);
  const loader = require('@grpc/proto-loader');
  const protobuf = require('protobufjs');
  const options = { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true };
  const json = new protobuf.Root().loadSync(path, options).toJSON();
  deepStrictEqual(
    describe(loader.fromJSON(JSON.parse(JSON.stringify(json)), options)),
    describe(loader.loadSync(path, options)),
    'the embedded etcd definitions differ from those in rpc.proto',
  );
  return json;
}

/** All that decides the wire format: messages, enums, and each method's path, streams and types. */
function describe(packageDefinition) {
  return Object.entries(packageDefinition).map(([name, definition]) => [
    name,
    JSON.stringify(definition, (key, value) =>
      key === 'fileDescriptorProtos' ? undefined : value,
    ),
  ]);
}
