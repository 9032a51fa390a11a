/** The time limits of one statement: those of its call, the statement timeout, and that of its Knex builder. */
import type { QueryTimeoutError } from '../errors'
import { type Limits, queryTimeoutError } from '../context/limits'
import { LONGEST_TIMER_MILLIS, startWatchdog } from '../context/timers'
import { shownSql, type Statement } from '../driver/statement'

/** Returns `limits`, narrowed by the statement timeout and that of the statement's builder, from `now` on. */
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

/** The least time for a statement that cannot be cancelled, however short the statement timeout is. */
const MIN_UNINTERRUPTED_MILLIS = 5000

const noop = (): void => undefined

/** Calls `onSilence` when a statement that cannot be cancelled gets no answer in time. Returns how to stop that. */
export function startSilenceWatchdog(
  { deadline }: Limits,
  statementTimeoutMillis: number,
  cancelGraceMillis: number,
  onSilence: () => void,
): () => void {
  const ownMillis = Math.max(statementTimeoutMillis, MIN_UNINTERRUPTED_MILLIS)
  // The rest of the grace is for asking the server for the outcome.
  const leftMillis = Math.max(0, deadline - performance.now()) + cancelGraceMillis * 0.75
  const millis = Math.min(ownMillis, leftMillis)
  return millis > LONGEST_TIMER_MILLIS ? noop : startWatchdog(millis, onSilence)
}
