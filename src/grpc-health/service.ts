// The service `grpc.health.v1.Health` as it goes over the wire: two methods and two messages of one field each, written
// with protobufjs, which etcd's messages bring along. A test holds them against the definition of `grpc-health-check`.
import type { MethodDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import protobuf from 'protobufjs/minimal.js';

/** `HealthCheckResponse.ServingStatus`; 0, UNKNOWN, is never told. */
export const servingStatus = { SERVING: 1, NOT_SERVING: 2, SERVICE_UNKNOWN: 3 } as const;

export type ServingStatus = (typeof servingStatus)[keyof typeof servingStatus];

/** An object, since grpc-js takes an empty text for no message. */
export interface HealthRequest {
  readonly service: string;
}

/** The tag of field 1: a text in the request, a number in the response. */
const serviceTag = 0x0a;
const statusTag = 0x08;

const encodeRequest = ({ service }: HealthRequest): Buffer =>
  Buffer.from(protobuf.Writer.create().uint32(serviceTag).string(service).finish());

/** Throws where it is no message, or its text no UTF-8. */
function decodeRequest(bytes: Buffer): HealthRequest {
  const reader = protobuf.Reader.create(bytes);
  let service = '';
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag === serviceTag) service = reader.string();
    else reader.skipType(tag & 7);
  }
  return { service };
}

const encodeResponse = (status: ServingStatus): Buffer =>
  Buffer.from(protobuf.Writer.create().uint32(statusTag).int32(status).finish());

function decodeResponse(bytes: Buffer): ServingStatus {
  const reader = protobuf.Reader.create(bytes);
  reader.uint32();
  return reader.int32() as ServingStatus;
}

type Method = MethodDefinition<HealthRequest, ServingStatus>;

const method = (name: string, responseStream: boolean): Method => ({
  path: `/grpc.health.v1.Health/${name}`,
  requestStream: false,
  responseStream,
  requestSerialize: encodeRequest,
  requestDeserialize: decodeRequest,
  responseSerialize: encodeResponse,
  responseDeserialize: decodeResponse,
});

export const healthService = { check: method('Check', false), watch: method('Watch', true) };

/** Both methods, and nothing else. */
export type HealthHandlers = UntypedServiceImplementation &
  Record<keyof typeof healthService, unknown>;
