// Asks a sidecar `GET /leader` and reads the answer, as the sample app and `electord dev` both do.
// Promises an answer within the bound: a sidecar that is silent, dead or talks nonsense gives null.
import { Agent, get } from 'node:http';

/** What `electord dev` reads of a sidecar's answer; see the reference for the whole of it. */
export interface LeaderAnswer {
  readonly id: string;
  readonly role: string;
  /** True only for an answer with the code 200. */
  readonly isLeader: boolean;
  readonly leader: { readonly id: string; readonly address: string | null } | null;
  /** This sidecar's own term, while it leads. */
  readonly fencingToken: bigint | null;
  /** How long its leadership lasts if nothing planned ends it, counted from `sentAtMs`. */
  readonly validForMs: number;
  /** For so long nobody else leads, counted from `sentAtMs`; 0 where no hold was asked for. */
  readonly heldForMs: number;
  /** When the question was sent, on the monotonic clock. */
  readonly sentAtMs: number;
}

const agent = new Agent({ keepAlive: true, maxSockets: 4 });

/**
 * @param origin of the sidecar, such as `http://127.0.0.1:4040`
 * @param boundMs how long to wait for the answer
 * @param holdMs the hold to ask for, of a local listener only
 */
export function askLeader(
  origin: string,
  boundMs: number,
  holdMs: number | null = null,
): Promise<LeaderAnswer | null> {
  const sentAtMs = performance.now();
  return new Promise((resolve) => {
    const giveUp = (): void => {
      resolve(null);
    };
    const signal = AbortSignal.timeout(boundMs);
    const path = holdMs === null ? '/leader' : `/leader?hold=${holdMs}ms`;
    const request = get(`${origin}${path}`, { agent, signal }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => (text += part));
      response.on('error', giveUp);
      response.on('end', () => {
        resolve(readAnswer(response.statusCode ?? 0, text, sentAtMs));
      });
    });
    request.on('error', giveUp);
  });
}

/** Closes the connections kept open by `askLeader`. */
export function forgetConnections(): void {
  agent.destroy();
}

function readAnswer(code: number, text: string, sentAtMs: number): LeaderAnswer | null {
  const answer = parseObject(text);
  if (typeof answer?.['id'] !== 'string' || typeof answer['role'] !== 'string') return null;
  const leader = answer['leader'] as { id?: unknown; address?: unknown } | null | undefined;
  const { fencingToken: token, validForMs, heldForMs } = answer;
  return {
    id: answer['id'],
    role: answer['role'],
    isLeader: code === 200,
    leader:
      typeof leader?.id === 'string'
        ? { id: leader.id, address: typeof leader.address === 'string' ? leader.address : null }
        : null,
    fencingToken: typeof token === 'string' && /^\d+$/.test(token) ? BigInt(token) : null,
    validForMs: typeof validForMs === 'number' ? validForMs : 0,
    heldForMs: typeof heldForMs === 'number' ? heldForMs : 0,
    sentAtMs,
  };
}

function parseObject(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' ? (value as Record<string, unknown> | null) : null;
  } catch {
    return null;
  }
}
