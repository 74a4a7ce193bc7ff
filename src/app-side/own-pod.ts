// The label of the pod that this process runs in, by one PATCH of Kubernetes' API: with the token, the authority and the
// namespace that the kubelet mounts, read anew for each request, because tokens are renewed. No connection is kept.
import { request } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { judgeAfter } from '../process/time-out.ts';

export interface Label {
  readonly key: string;
  readonly value: string;
}

export interface OwnPodOptions {
  readonly label: Label;
  /** The folder with `token`, `ca.crt` and `namespace`. */
  readonly account: string;
  /** Where the API is and which pod this is: as the kubelet and the manifest say it. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The name of the pod where `POD_NAME` does not say it. */
  readonly hostName: string;
  readonly timeoutMs: number;
}

/** Why the label could not be changed, as a clause; `isDoubtful` where it may have been, or may yet be. */
export class LabelFailure extends Error {
  override readonly name = 'LabelFailure';
  readonly isDoubtful: boolean;

  constructor(message: string, isDoubtful: boolean, options?: ErrorOptions) {
    super(message, options);
    this.isDoubtful = isDoubtful;
  }
}

/** All that is wanted of the answer beside its status. */
const explanationAtMost = 300;

export class OwnPod {
  readonly #options: OwnPodOptions;

  constructor(options: OwnPodOptions) {
    this.#options = options;
  }

  /** Sets the label, or removes it where it is there. Rejects with LabelFailure, also when `signal` aborts. */
  async change(isSet: boolean, signal: AbortSignal): Promise<void> {
    const { label, environment, hostName, timeoutMs } = this.#options;
    const host = environment['KUBERNETES_SERVICE_HOST'];
    const port = environment['KUBERNETES_SERVICE_PORT'] ?? '443';
    if (!host) {
      throw new LabelFailure('this is no pod: KUBERNETES_SERVICE_HOST is not set', false);
    }
    const { token, ca, namespace } = await this.#account();
    const pod = environment['POD_NAME'] ?? hostName;
    const labels = { [label.key]: isSet ? label.value : null };
    const body = JSON.stringify({ metadata: { labels } });
    const place = [namespace, 'pods', pod].map(encodeURIComponent).join('/');
    const sent = request({
      ...{ host, port, ca, agent: false, method: 'PATCH' },
      path: `/api/v1/namespaces/${place}?fieldManager=electord`,
      signal,
      headers: {
        Authorization: `Bearer ${token}`,
        'Content-Type': 'application/merge-patch+json',
        'Content-Length': Buffer.byteLength(body),
        Accept: 'application/json',
        'User-Agent': 'electord',
      },
    });
    const at = `the API server at ${host}:${port}`;
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      sent.on('response', resolve).on('error', (cause) => {
        const what = `${at} cannot be asked: ${cause.message}`;
        reject(cause instanceof LabelFailure ? cause : new LabelFailure(what, true, { cause }));
      });
    });
    const late = `${at} did not answer within ${timeoutMs / 1000} s`;
    const cancel = judgeAfter(timeoutMs, () => sent.destroy(new LabelFailure(late, true)));
    sent.once('close', cancel).end(body);
    const answer = await answered;
    const { statusCode = 0 } = answer;
    if (statusCode === 200) {
      answer.on('error', () => undefined).resume();
      return;
    }
    const said = explanation(await text(answer).catch(() => ''));
    throw new LabelFailure(refusal(statusCode, { pod, namespace }, said), false);
  }

  async #account(): Promise<Readonly<Record<'token' | 'ca' | 'namespace', string>>> {
    const [token, ca, namespace] = await Promise.all([
      this.#read('token'),
      this.#read('ca.crt'),
      this.#read('namespace'),
    ]);
    return { token, ca, namespace };
  }

  async #read(name: string): Promise<string> {
    const path = join(this.#options.account, name);
    try {
      return (await readFile(path, 'utf8')).trim();
    } catch (cause) {
      const { code = 'it failed' } = cause as NodeJS.ErrnoException;
      const what = `cannot read ${path} (${code}): mount a token of the pod's service account`;
      throw new LabelFailure(what, false, { cause });
    }
  }
}

/** The `message` of the API's Status, or what there is instead. */
function explanation(body: string): string {
  let said: unknown = body;
  try {
    said = (JSON.parse(body) as { readonly message?: unknown }).message;
  } catch {
    // A proxy may answer in its own words.
  }
  return typeof said === 'string' && said !== '' ? `: ${said.slice(0, explanationAtMost)}` : '';
}

function refusal(
  status: number,
  { pod, namespace }: { readonly pod: string; readonly namespace: string },
  said: string,
): string {
  switch (status) {
    case 401:
      return `the API server does not take the token of the pod's service account (401)${said}`;
    case 403:
      return `the pod's service account lacks a right: give it a Role in the namespace ${namespace} with the verb patch on pods, as deploy/kubernetes/leader-label does (403)${said}`;
    case 404:
      return `there is no pod ${pod} in the namespace ${namespace}: set POD_NAME to the name of the pod (404)${said}`;
    default:
      return `the API server answered ${status}${said}`;
  }
}
