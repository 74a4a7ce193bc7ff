// The audit log as lines of the log of this process, which has every entry, whether etcd takes it or not.
import type { AuditLog } from '../ports.ts';
import type { Log } from './log.ts';

/** The same, with a line for every entry; a failure to keep one is a line too, and nothing else. */
export const loggedAudit = (log: Log, audit: AuditLog): AuditLog => ({
  record: async (election, entry) => {
    const { by, verb, outcome } = entry;
    log.info({ election, ...entry }, `${by ?? 'somebody'} asked for ${verb}: ${outcome}`);
    try {
      await audit.record(election, entry);
    } catch (error) {
      log.warn({ err: error, election, verb }, 'the audit log in etcd does not have this verb');
    }
  },
  entries: (election) => audit.entries(election),
});
