/** How long one statement may take: as long as its call may, and no longer than statements may at all. */
import type { QueryTimeoutError } from '../errors'
import { type Limits, queryTimeoutError } from '../context/limits'
import { LONGEST_TIMER_MILLIS } from '../context/deadline-timer'
import { shownSql, type Statement } from '../driver/statement'
import type { LeaseContext } from './lease-context'
import { startWatchdog } from '../context/watchdog'

/** The limits of its call, with the statement timeout and that of its builder, from `now` on. */
export function statementLimits(
  statement: Statement,
  limits: Limits,
  statementTimeoutMillis: number,
  now: number,
): Limits {
  const sql = shownSql(statement)
  const { timeoutMillis } = statement
  const makeError = (cause?: unknown): QueryTimeoutError =>
    queryTimeoutError(sql, `statement timeout of ${statementTimeoutMillis} ms`, cause)
  const bounded = limits.within(statementTimeoutMillis, makeError, now)
  if (timeoutMillis === undefined) return bounded
  return bounded.within(timeoutMillis, (cause) =>
    queryTimeoutError(sql, `timeout(${timeoutMillis}) of its builder`, cause),
  )
}

/** How long a statement gets that must be seen through, however short statements are to be otherwise. */
const MIN_UNINTERRUPTED_MILLIS = 5000

const noop = (): void => undefined

/** Has the connection cut when a statement gets no answer that nobody can call off. Returns how to tell that it has. */
export function startSilenceWatchdog(
  { deadline }: Limits,
  { statementTimeoutMillis, dialect }: LeaseContext,
  onSilence: () => void,
): () => void {
  const ownMillis = Math.max(statementTimeoutMillis, MIN_UNINTERRUPTED_MILLIS)
  // The rest of the grace is for asking what became of it.
  const leftMillis = Math.max(0, deadline - performance.now()) + dialect.cancelGraceMillis * 0.75
  const millis = Math.min(ownMillis, leftMillis)
  return millis > LONGEST_TIMER_MILLIS ? noop : startWatchdog(millis, onSilence)
}
