// Turns what etcd3 and gRPC reject with into our families of errors, once, at the edge. Every code is classified: what
// is not known for certain counts as unreachable, which is safe because every request may be sent again. Only etcd's own
// words are a refusal: a load balancer, another gRPC server or a wrong port says nothing about our request.
import { Compacted, Denied, ElectordError, LeaseLost, Refused, Unreachable } from '../errors.ts';

/** By what etcd says; etcd3 drops the gRPC code of some of these, so the text has to do. */
const byMessage: readonly (readonly [
  RegExp,
  new (message: string, options: ErrorOptions) => ElectordError,
])[] = [
  [/requested lease not found/, LeaseLost],
  [/required revision has been compacted/, Compacted],
  [
    /etcdserver: (authentication failed|permission denied|user name is empty|auth(entication)? is not enabled)/,
    Denied,
  ],
  [/etcdserver: (invalid auth(entication)? token|revision of auth store is old)/, Denied],
  [
    /database space exceeded|too large|larger than max|too many operations|duplicate key|corrupt/,
    Refused,
  ],
];

/** Every error that etcd itself returns says so. */
const saidByEtcd = /etcdserver: /;

/** By the name of the class that etcd3 gives to a gRPC code, where etcd said it. */
const refusals = new Set([
  'GRPCInvalidArgumentError',
  'GRPCFailedPreconditionError',
  'GRPCOutOfRangeError',
  'GRPCNotImplementedError',
  'GRPCNotFoundError',
  'GRPCAlreadyExistsError',
]);
const denials = new Set(['GRPCUnauthenticatedError', 'EtcdPermissionDeniedError']);

/** The same for a stream, which rejects with the bare gRPC error: its numeric code. */
const denialCodes = new Set([7, 16]);
const refusalCodes = new Set([3, 5, 6, 9, 11, 12]);

export function classify(failure: unknown): ElectordError {
  if (failure instanceof ElectordError) return failure;
  const error = failure instanceof Error ? failure : new Error(String(failure));
  const options = { cause: error };
  const known = byMessage.find(([pattern]) => pattern.test(error.message));
  if (known !== undefined) return new known[1](error.message, options);
  if (!saidByEtcd.test(error.message)) return new Unreachable(error.message, options);
  const name = error.constructor.name;
  const code = 'code' in error ? error.code : undefined;
  if (denials.has(name) || denialCodes.has(code as number))
    return new Denied(error.message, options);
  if (refusals.has(name) || refusalCodes.has(code as number))
    return new Refused(error.message, options);
  return new Unreachable(error.message, options);
}

/** True for a token that has expired or was issued before etcd's users changed: a new login puts it right. */
export const isStaleToken = (error: ElectordError): boolean =>
  /etcdserver: (invalid auth(entication)? token|revision of auth store is old|user name is empty)/.test(
    error.message,
  );

/** True where a grant found its own lease id in use: an earlier attempt of the same grant had arrived. */
export const isLeaseAlreadyGranted = (error: ElectordError): boolean =>
  /lease already exists/.test(error.message);

/** True where the answer is larger than gRPC takes: it is to be asked for in parts. */
export const isTooLarge = (failure: unknown): boolean =>
  failure instanceof Refused && /larger than max/.test(failure.message);

/** True where etcd refuses what is asked and not who asks: it may well do less, or other parts of it. */
export const isRefusal = (failure: unknown): boolean =>
  failure instanceof Refused ||
  (failure instanceof Denied && /permission denied/.test(failure.message));

/** True where a request has more operations or bytes than etcd takes at once. */
export const asksTooMuch = (failure: unknown): boolean =>
  failure instanceof Refused &&
  /too many operations|too large|larger than max/.test(failure.message);
