// Every verb leaves a trace: what was asked, by whom, why, from where, and what became of it. The trace neither keeps a verb
// from being carried out nor its answer waiting for long, where etcd does not take it. What no guard let in leaves none.
import type { z } from 'zod';
import type { AuditAnswer, AuditEntry, VerbAnswer } from '../contract.ts';
import { readVerbBody } from './bodies.ts';
import { json, type AskedLocally, type Handler, type Reply } from './exchange.ts';
import { refusalOf } from './problems.ts';

/** What a verb did; `as`: what it was, where that is not what was asked for. */
export interface Done {
  readonly status: 200 | 202;
  readonly body: VerbAnswer;
  readonly as?: AuditEntry['verb'];
}

/** What the body of every verb may say. */
interface Said {
  readonly reason?: string | null;
  readonly by?: string | null;
}

/** So long an answer waits for its trace, which is then to be seen at once by whoever has the answer. */
const tracedWithinMs = 1000;

function atMost(ms: number, work: Promise<void>): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    void work.then(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** A verb as a handler: its body is read, it is carried out, and what became of it is recorded. */
export function audited<Schema extends z.ZodObject>(
  verb: AuditEntry['verb'],
  schema: Schema,
  act: (asked: AskedLocally, body: z.output<Schema>) => Promise<Done>,
): Handler<AskedLocally> {
  return async (asked): Promise<Reply> => {
    const { inputs, local, report } = asked;
    const at = new Date(inputs.wallNow()).toISOString();
    let said: Said = {};
    const trace = (outcome: string, detail: string, as = verb): Promise<void> => {
      const { reason = null, by = null } = said;
      const who = { by, ...asked.client(), via: report.id };
      const entry = { at, verb: as, ...who, reason, outcome, detail };
      return atMost(tracedWithinMs, local.audit.record(report.election, entry));
    };
    try {
      const body = await readVerbBody(asked, schema);
      said = body;
      const { status, body: answer, as } = await act(asked, body);
      await trace(status === 200 ? 'done' : 'accepted', answer.detail, as);
      return json(status, answer);
    } catch (failure) {
      const { code, detail } = refusalOf(failure)?.problem ?? {
        code: 'internal_error',
        detail: '',
      };
      await trace(code, detail);
      throw failure;
    }
  };
}

/** `GET /audit`: rejects with a class of errors.ts where etcd cannot say. */
export async function auditAnswer({ report, local }: AskedLocally): Promise<Reply> {
  const { election } = report;
  const answer: AuditAnswer = { election, entries: await local.audit.entries(election) };
  return json(200, answer);
}
