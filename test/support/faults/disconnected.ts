/** The pool is closed while a statement is stuck. */
import { setTimeout as delay } from 'node:timers/promises'
import { waitFor } from '../wait-for'
import { inTime } from './in-time'
import { countBackends, openLedger } from './ledger'
import type { Candidate } from './subject'

const GRACE_MILLIS = 300
const PATIENCE_MILLIS = 5000
const LABEL = 'the stuck one'

export async function disconnected(candidate: Candidate, url: string) {
  await openLedger(url)
  const subject = await candidate.open(url, { acquireTimeoutMillis: PATIENCE_MILLIS })
  const stuck = inTime(PATIENCE_MILLIS + GRACE_MILLIS, subject.sleep(600, LABEL))
  await waitFor(async () => (await countBackends(url, ['active'])) === 1, { what: 'a statement to be stuck' })

  const { value: cutOff, tookMillis, isLate } = await inTime(PATIENCE_MILLIS, subject.close(GRACE_MILLIS))
  await delay(1000)
  const backendsLeft = await countBackends(url)
  await stuck
  return {
    beyondGraceMillis: isLate ? NaN : tookMillis - GRACE_MILLIS,
    holdersNamed: cutOff?.filter((label) => label === LABEL).length ?? 0,
    backendsLeft,
  }
}
