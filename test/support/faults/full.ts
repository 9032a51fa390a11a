/** All connections are in use: some calls time out, and others wait until the first connection is released. */
import { waitFor } from '../wait-for'
import { inTime } from './in-time'
import { countBackends, openLedger } from './ledger'
import { type Candidate, CONNECTIONS, failureName, type Subject } from './subject'

/** Opening all connections must not take longer, on a busy machine neither. */
const ACQUIRE_MILLIS = 1000
const CALLS = 20
const PATIENCE_MILLIS = 5000
/** How long the first connection to be released is held, and how long the others. */
const SHORT_SECONDS = 0.2
const LONG_SECONDS = 2.5

export async function full(candidate: Candidate, url: string) {
  await openLedger(url)
  const figures = await on(candidate, url, ACQUIRE_MILLIS, inVain)
  return { ...figures, ...(await on(candidate, url, PATIENCE_MILLIS, inTurn)) }
}

async function on<T>(
  candidate: Candidate,
  url: string,
  acquireTimeoutMillis: number,
  work: (subject: Subject, url: string) => Promise<T>,
): Promise<T> {
  const subject = await candidate.open(url, { acquireTimeoutMillis })
  try {
    return await work(subject, url)
  } finally {
    await inTime(PATIENCE_MILLIS, subject.close())
  }
}

/** Calls that time out. */
async function inVain(subject: Subject, url: string) {
  const held = await hold(subject, url, CONNECTIONS)
  const outcomes = await Promise.all(calls(subject))
  await held.end
  const errors = outcomes.map(({ error }) => error).filter((error) => error !== undefined)
  return {
    timedOut: errors.length,
    error: [...new Set(errors.map(failureName))].join(' and '),
    slowestBeyondMillis: Math.max(...outcomes.map(({ tookMillis }) => tookMillis)) - ACQUIRE_MILLIS,
    holdersNamed: Math.min(CONNECTIONS, ...errors.map(namedIn)),
    holders: CONNECTIONS,
  }
}

/** Calls that wait for the connection that is released. */
async function inTurn(subject: Subject, url: string) {
  const held = await hold(subject, url, CONNECTIONS - 1)
  const first = subject.sleep(SHORT_SECONDS, 'the first to come back')
  const served: { readonly n: number; readonly at: number }[] = []
  const waiting = calls(subject).map(async (call, n) => {
    const { error, isLate } = await call
    if (error === undefined && !isLate) served.push({ n, at: performance.now() })
  })
  await first
  const releasedAt = performance.now()
  await Promise.all(waiting)
  await held.end
  return {
    served: served.length,
    servedAfterReleaseMillis: Math.max(0, (served[0]?.at ?? NaN) - releasedAt),
    servedOutOfOrder: served.filter(({ n }, index) => n !== index).length,
  }
}

/** Resolves when so many connections are in use. They were opened for it, and no call has to wait for that. */
async function hold(subject: Subject, url: string, count: number): Promise<{ end: Promise<unknown> }> {
  const sleepers = Array.from({ length: count }, (_, n) => subject.sleep(LONG_SECONDS, `sleeper ${n}`))
  const end = Promise.all(sleepers)
  await waitFor(async () => (await countBackends(url, ['active'])) === count, { what: 'a full pool' })
  return { end }
}

function calls(subject: Subject): ReturnType<typeof inTime>[] {
  return Array.from({ length: CALLS }, (_, n) => inTime(PATIENCE_MILLIS, subject.read(n + 1)))
}

/** How many holders an error names with their label and their statement. */
function namedIn(error: unknown): number {
  return error instanceof Error ? [...error.message.matchAll(/sleeper \d+.*pg_sleep/g)].length : 0
}
