// A stock client of `grpc.health.v1`: grpc-js with the definition of the package `grpc-health-check`, of which the product
// has nothing.
import {
  credentials,
  makeGenericClientConstructor,
  status,
  type ChannelCredentials,
  type ClientReadableStream,
  type ServiceError,
} from '@grpc/grpc-js';
import { service } from 'grpc-health-check';
import { eventually } from './wait.ts';

interface Response {
  readonly status: string;
}

interface HealthClient {
  check(
    request: { readonly service: string },
    options: { readonly deadline: number },
    answered: (error: ServiceError | null, response?: Response) => void,
  ): void;
  watch(request: { readonly service: string }): ClientReadableStream<Response>;
  close(): void;
}

const HealthClientOf = makeGenericClientConstructor(service, 'Health');

export interface Watching {
  /** What was told, in order. */
  readonly told: readonly string[];
  /** The name of the status with which it ended; null while it lasts. */
  readonly ended: () => string | null;
  /** Resolves once it was told `last` as the newest. */
  tells(last: string, withinMs?: number): Promise<void>;
  cancel(): void;
}

export interface GrpcHealth {
  /** What is answered: the status of the service, or the name of that of gRPC where it is an error. */
  check(service?: string, withinMs?: number): Promise<string>;
  watch(service: string): Watching;
  close(): void;
}

export function grpcHealth(
  port: number,
  secure: ChannelCredentials = credentials.createInsecure(),
): GrpcHealth {
  const options = { 'grpc.use_local_subchannel_pool': 1 };
  const client = new HealthClientOf(
    `127.0.0.1:${port}`,
    secure,
    options,
  ) as unknown as HealthClient;
  return {
    check: (name = '', withinMs = 10_000) =>
      new Promise((resolve) => {
        const deadline = Date.now() + withinMs;
        client.check({ service: name }, { deadline }, (error, response) =>
          resolve(error === null ? response!.status : status[error.code]),
        );
      }),
    watch(name) {
      const told: string[] = [];
      let ended: string | null = null;
      const call = client.watch({ service: name });
      call.on('data', (response: Response) => told.push(response.status));
      call.on('error', () => undefined);
      call.on('status', ({ code }: { readonly code: status }) => (ended = status[code]!));
      return {
        told,
        ended: () => ended,
        tells: async (last, withinMs = 10_000) => {
          const what = `${name} to be ${last}`;
          await eventually(() => told.at(-1) === last, { withinMs, what });
        },
        cancel: () => call.cancel(),
      };
    },
    close: () => client.close(),
  };
}
