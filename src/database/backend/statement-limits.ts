/** How long one statement may take: as long as its call may, and no longer than statements may at all. */
import { type Limits, timedOut } from '../limits'
import { shownSql, type Statement } from './dialect'

/** The limits of its call, with the statement timeout and that of its builder. */
export function limitsOf(statement: Statement, limits: Limits, statementTimeoutMillis: number): Limits {
  const sql = shownSql(statement)
  const { timeoutMillis } = statement
  const bounded = limits.within(statementTimeoutMillis, (cause) =>
    timedOut(sql, `statement timeout of ${statementTimeoutMillis} ms`, cause),
  )
  if (timeoutMillis === undefined) return bounded
  return bounded.within(timeoutMillis, (cause) =>
    timedOut(sql, `timeout(${timeoutMillis}) of its builder`, cause),
  )
}

/** How long a statement gets that must be seen through, however short statements are to be otherwise. */
const LEAST_PATIENCE_MILLIS = 5000

/** How long its answer is waited for, which nobody can call off. */
export function patienceFor(
  deadline: number,
  statementTimeoutMillis: number,
  cancelGraceMillis: number,
): number {
  const own = Math.max(statementTimeoutMillis, LEAST_PATIENCE_MILLIS)
  // The rest of the grace is for asking what became of it.
  return Math.min(own, Math.max(0, deadline - performance.now()) + cancelGraceMillis * 0.75)
}
