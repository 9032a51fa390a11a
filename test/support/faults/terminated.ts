/** Ten times a second, one of the subject's backends is terminated under load. */
import { setTimeout as delay } from 'node:timers/promises'
import { audit, BACKENDS, openLedger, withAuditor } from './ledger'
import { Load } from './load'
import type { Candidate } from './subject'

const EVERY_MILLIS = 100

export async function terminated(candidate: Candidate, url: string, durationMillis = 10_000) {
  await openLedger(url)
  const subject = await candidate.open(url, { acquireTimeoutMillis: 10_000 })
  const load = new Load(subject)
  let kills: number
  try {
    kills = await terminateBackends(url, durationMillis)
  } finally {
    await load.stop()
  }
  return {
    kills,
    readsDone: load.reads.done,
    readsFailed: load.reads.failed,
    writesDone: load.writes.done,
    writesFailed: load.writes.failed,
    clientsThatHang: load.hanging,
    failures: load.describeFailures(),
    ...(await audit(url, load)),
  }
}

/** Returns how many it has terminated. */
function terminateBackends(url: string, durationMillis: number): Promise<number> {
  const terminate = `select pg_terminate_backend(pid) as is_hit from (${BACKENDS} order by random() limit 1) as one`
  return withAuditor(url, async (client) => {
    const started = performance.now()
    let kills = 0
    for (let at = EVERY_MILLIS; at <= durationMillis; at += EVERY_MILLIS) {
      // By the clock, so that what the query itself takes makes them no fewer.
      await delay(Math.max(0, started + at - performance.now()))
      const { rows } = await client.query<{ is_hit: boolean }>(terminate)
      kills += rows.filter(({ is_hit }) => is_hit).length
    }
    return kills
  })
}
