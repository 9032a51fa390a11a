/** Every process of PostgreSQL is stopped for five seconds and continued, under clients whose calls have a deadline. */
import { setTimeout as delay } from 'node:timers/promises'
import type { MortalPostgres } from '../mortal-postgres'
import { audit, openLedger } from './ledger'
import { CLIENTS, Load } from './load'
import type { Candidate } from './subject'

const WARM_UP_MILLIS = 500
const FROZEN_MILLIS = 5000
const DEADLINE_MILLIS = 1500
const PATIENCE_MILLIS = 5000
const POLL_MILLIS = 20

export async function frozen(candidate: Candidate, server: MortalPostgres) {
  await openLedger(server.url)
  const subject = await candidate.open(server.url, {
    acquireTimeoutMillis: DEADLINE_MILLIS,
    callTimeoutMillis: DEADLINE_MILLIS,
  })
  const load = new Load(subject)
  let thawedAt: number
  try {
    await delay(WARM_UP_MILLIS)
    await server.freeze()
    await delay(FROZEN_MILLIS)
    await server.thaw()
    thawedAt = performance.now()
    load.mark()
    while (load.firstSuccesses.length < CLIENTS && performance.now() - thawedAt < PATIENCE_MILLIS) {
      await delay(POLL_MILLIS)
    }
  } finally {
    await load.stop()
  }
  const { failedButApplied: _, ...found } = await audit(server.url, load)

  return {
    callsDone: load.reads.done + load.writes.done,
    callsFailed: load.reads.failed + load.writes.failed,
    clientsThatHang: load.hanging,
    slowestBeyondDeadlineMillis: Math.max(0, load.slowestMillis - DEADLINE_MILLIS),
    normalAfterMillis: (load.firstSuccesses[CLIENTS - 1] ?? NaN) - thawedAt,
    ...found,
    failures: load.describeFailures(),
  }
}
