// An esbuild plugin: the etcd3 package parses ../proto/rpc.proto from its own folder when it is imported, and makes the
// code for its messages from that; in a bundle of one file that folder is gone, and a sidecar starts too often to do at each
// start what can be done once. This embeds the code that protobufjs would have made. Promises to fail the build when etcd3
// no longer has the lines it replaces, or when the embedded code takes messages for other bytes than etcd3 would.
import { deepStrictEqual } from 'node:assert';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const replacements = [
  ['const proto_loader_1 = require("@grpc/proto-loader");', ''],
  [
    'const packageDefinition = (0, proto_loader_1.loadSync)(`${__dirname}/../proto/rpc.proto`, {',
    "const packageDefinition = require('etcd-definitions:rpc')({",
  ],
];

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
        const contents = replacements.reduce(
          (text, [from, to]) => replacedOnce(path, text, from, to),
          await readFile(path, 'utf8'),
        );
        replaced += 1;
        return { contents, loader: 'js' };
      });
      build.onResolve({ filter: /^etcd-definitions:rpc$/ }, ({ path }) => ({
        path,
        namespace: 'etcd-definitions',
      }));
      build.onLoad({ filter: /.*/, namespace: 'etcd-definitions' }, () => ({
        contents: definitions(join(root, 'node_modules/etcd3/proto/rpc.proto')),
        resolveDir: root,
        loader: 'js',
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

function replacedOnce(path, text, from, to) {
  const parts = text.split(from);
  if (parts.length === 2) return parts.join(to);
  throw new Error(`${path}: expected once, found ${parts.length - 1} times: ${from}`);
}

/** A module that makes what etcd3 loads from the file, for the options of proto-loader; proven to be as good. */
function definitions(path) {
  // etcd3 may have a proto-loader of its own: the parser that it would have used is the one to trust.
  const require = createRequire(path);
  const protobuf = require('protobufjs');
  const options = { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true };
  const schema = new protobuf.Root().loadSync(path, options);
  schema.resolveAll();
  const loaded = require('@grpc/proto-loader').loadSync(path, options);
  const code = moduleOf(protobuf, objectsOf(protobuf, schema), loaded);
  const module = { exports: {} };
  new Function('module', 'require', code)(module, require);
  proveEqual(protobuf, schema, loaded, module.exports(options));
  return code;
}

/** All messages, enums and services below a namespace. */
function objectsOf(protobuf, namespace) {
  return namespace.nestedArray.flatMap((one) => [
    ...(one instanceof protobuf.ReflectionObject && !isBareNamespace(protobuf, one) ? [one] : []),
    ...(one.nestedArray === undefined ? [] : objectsOf(protobuf, one)),
  ]);
}

const isBareNamespace = (protobuf, one) =>
  one instanceof protobuf.Namespace &&
  !(one instanceof protobuf.Type) &&
  !(one instanceof protobuf.Service);

const nameOf = (one) => one.fullName.replace(/^\./, '');

function moduleOf(protobuf, objects, loaded) {
  const of = (kind) => objects.filter((one) => one instanceof kind);
  return `'use strict';
const { Reader, Writer, util } = require('protobufjs/minimal');
const all = Object.create(null);
${of(protobuf.Enum)
  .map((one) => `all[${JSON.stringify(nameOf(one))}] = { values: ${namesOf(one)} };`)
  .join('\n')}
${of(protobuf.Type)
  .map((type) => messageOf(protobuf, type))
  .join('\n')}
const method = (options, path, requestStream, responseStream, request, response, originalName) => ({
  path,
  requestStream,
  responseStream,
  requestSerialize: (value) => all[request].encode(all[request].fromObject(value)).finish(),
  requestDeserialize: (bytes) => all[request].toObject(all[request].decode(bytes), options),
  responseSerialize: (value) => all[response].encode(all[response].fromObject(value)).finish(),
  responseDeserialize: (bytes) => all[response].toObject(all[response].decode(bytes), options),
  originalName,
});
module.exports = (options) => ({
${of(protobuf.Service)
  .map((service) => `${JSON.stringify(nameOf(service))}: {${methodsOf(service, loaded)}}`)
  .join(',\n')}
});
`;
}

/** The names of an enum by their numbers, which is how they are read. */
const namesOf = ({ valuesById }) => JSON.stringify(valuesById);

/** Their code is made by protobufjs, which makes it anew at each start otherwise; \`types\` is what it knows of its fields. */
function messageOf(protobuf, type) {
  const fields = type.fieldsArray.map(({ resolvedType }) =>
    resolvedType === null ? 'null' : `all[${JSON.stringify(nameOf(resolvedType))}]`,
  );
  const { converter, encoder, decoder } = protobuf;
  return `{
const known = () => [${fields.join(', ')}];
let types = null;
const fieldsKnown = (run) => function () { types ??= known(); return run.apply(this, arguments); };
all[${JSON.stringify(nameOf(type))}] = {
ctor: ${protobuf.Type.generateConstructor(type).toString()},
encode: fieldsKnown(${encoder(type).toString()}),
decode: fieldsKnown(${decoder(type).toString()}),
fromObject: fieldsKnown(${converter.fromObject(type).toString()}),
toObject: fieldsKnown(${converter.toObject(type).toString()}),
};
}`;
}

function methodsOf(service, loaded) {
  return service.methodsArray
    .map(({ name, resolvedRequestType, resolvedResponseType }) => {
      const { path, requestStream, responseStream, originalName } = loaded[nameOf(service)][name];
      const types = [resolvedRequestType, resolvedResponseType].map(nameOf);
      const args = [path, requestStream, responseStream, ...types, originalName];
      return `${name}: method(options, ${args.map((arg) => JSON.stringify(arg)).join(', ')})`;
    })
    .join(', ');
}

/** Each service has the same methods, and takes the same messages for the same bytes and back: empty ones, and full ones. */
function proveEqual(protobuf, schema, loaded, embedded) {
  const services = Object.entries(loaded).filter(([, one]) => !('format' in one));
  deepStrictEqual(
    Object.keys(embedded),
    services.map(([name]) => name),
  );
  for (const [name, methods] of services) {
    deepStrictEqual(Object.keys(embedded[name]), Object.keys(methods));
    for (const [method, expected] of Object.entries(methods)) {
      const found = embedded[name][method];
      const plain = ({ path, requestStream, responseStream, originalName }) => ({
        ...{ path, requestStream, responseStream, originalName },
      });
      deepStrictEqual(plain(found), plain(expected));
      const reflected = schema.lookupService(name).methods[method];
      for (const side of ['request', 'response']) {
        const type = reflected[side === 'request' ? 'resolvedRequestType' : 'resolvedResponseType'];
        const [write, read] = [`${side}Serialize`, `${side}Deserialize`];
        for (const message of [{}, ...[0, 1, 2].map((turn) => filled(protobuf, type, turn))]) {
          const bytes = expected[write](message);
          deepStrictEqual(
            Buffer.from(found[write](message)),
            Buffer.from(bytes),
            `${name}.${method}`,
          );
          deepStrictEqual(found[read](bytes), expected[read](bytes), `${name}.${method}`);
        }
      }
    }
  }
}

/** A message with something in each field; \`turn\` chooses among the fields of which one only may be set. */
function filled(protobuf, type, turn, depth = 0) {
  const message = {};
  for (const field of type.fieldsArray) {
    const { partOf } = field;
    if (partOf !== null && partOf.fieldsArray[turn % partOf.fieldsArray.length] !== field) continue;
    const value = sample(protobuf, field, turn, depth);
    if (value === undefined) continue;
    if (field.map) message[field.name] = { key: value };
    else message[field.name] = field.repeated ? [value, value] : value;
  }
  return message;
}

function sample(protobuf, { type, resolvedType }, turn, depth) {
  if (resolvedType instanceof protobuf.Enum) {
    const names = Object.keys(resolvedType.values);
    return names[turn % names.length];
  }
  if (resolvedType !== null) {
    return depth < 4 ? filled(protobuf, resolvedType, turn, depth + 1) : undefined;
  }
  if (type === 'string') return 'text';
  if (type === 'bytes') return Buffer.from([0, 1, 255]);
  if (type === 'bool') return true;
  if (type.endsWith('64')) return turn === 0 ? '9007199254740993' : 7 + turn;
  return 7 + turn;
}
