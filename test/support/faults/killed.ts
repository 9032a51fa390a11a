/** PostgreSQL is killed with all of its backends under load, and is back after two seconds. */
import { setTimeout as delay } from 'node:timers/promises'
import type { MortalPostgres } from '../mortal-postgres'
import { audit, openLedger } from './ledger'
import { Load } from './load'
import type { Candidate } from './subject'

const WARM_UP_MILLIS = 500
const AWAY_MILLIS = 2000
const RUN_ON_MILLIS = 1500

export async function killed(candidate: Candidate, server: MortalPostgres) {
  await openLedger(server.url)
  const subject = await candidate.open(server.url, { acquireTimeoutMillis: 10_000 })
  const load = new Load(subject)
  let writesInFlight: number
  let acceptedAt: number
  try {
    await delay(WARM_UP_MILLIS)
    load.mark()
    await server.kill()
    await delay(AWAY_MILLIS)
    writesInFlight = load.writingAtFirstFailure
    load.mark()
    acceptedAt = await server.start()
    await delay(RUN_ON_MILLIS)
  } finally {
    await load.stop()
  }

  return {
    readsDone: load.reads.done,
    readsFailed: load.reads.failed,
    writesDone: load.writes.done,
    writesFailed: load.writes.failed,
    writesInFlight,
    clientsThatHang: load.hanging,
    failures: load.describeFailures(),
    // It can come before the moment in which the server was seen to accept, since that is looked for by polling.
    firstSuccessMillis: Math.max(0, (load.firstSuccesses[0] ?? NaN) - acceptedAt),
    ...(await audit(server.url, load)),
  }
}
