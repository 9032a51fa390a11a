/** The errors of callers that got no connection: they tell a full pool from a database that is out of reach. */
import { ConnectionError, type DatabaseError, type Holder, PoolTimeoutError } from '../errors'

export interface PoolState {
  readonly name: string
  readonly timeoutMillis: number
  /** The most connections that the pool may open. */
  readonly maxConnections: number
  readonly holders: readonly Holder[]
  /** Callers that wait, besides the one that gets the error. */
  readonly otherWaiters: number
  /** True while the caller waits for its turn to write, which comes before it takes a connection. */
  readonly waitsToWrite: boolean
  /** Milliseconds since the database last answered anything. */
  readonly silentMillis: number
  /** The error of the last attempt to connect; undefined if it succeeded. */
  readonly lastFailure: DatabaseError | undefined
}

/** Returns the error for a caller whose acquire timeout has passed. */
export function acquireTimeoutError(state: PoolState): DatabaseError {
  const { name, timeoutMillis, maxConnections, holders, otherWaiters, waitsToWrite, silentMillis } = state
  if (state.lastFailure !== undefined) return state.lastFailure
  const canOpenMore = !waitsToWrite && holders.length < maxConnections
  // If the database has answered lately, other callers are the reason, even if more connections could be opened.
  if (canOpenMore && silentMillis >= timeoutMillis / 2) {
    return new ConnectionError(
      `Database '${name}' gave no working connection within ${timeoutMillis} ms. The pool is not full: the server does ` +
        'not answer. Check its address and that it is running.',
    )
  }
  if (waitsToWrite && holders.length === 0) {
    return new PoolTimeoutError(
      `No turn to write to database '${name}' came within ${timeoutMillis} ms: another Database of this process, on the ` +
        'same file, has been writing all the time.',
      holders,
      otherWaiters,
    )
  }
  const slowly = canOpenMore ? ' More are being opened, but not as fast as they are asked for.' : ''
  return new PoolTimeoutError(
    `No connection to database '${name}' became free within ${timeoutMillis} ms: ${holders.length} of ${maxConnections} are in use ` +
      `and ${otherWaiters} others wait.${slowly} The database may be quite well; the connections are held by:\n` +
      `${listHolders(holders)}\n` +
      'Look for slow queries and forgotten transactions among them first; then raise pool.size or maxOverflow.',
    holders,
    otherWaiters,
  )
}

/** Returns the error for a caller that is refused at once, since `maxWaiters` callers wait already. */
export function tooManyWaitersError(
  { name, holders, otherWaiters }: PoolState,
  maxWaiters: number,
): PoolTimeoutError {
  return new PoolTimeoutError(
    `${otherWaiters + 1} wait for database '${name}' already, and pool.maxWaiters is ${maxWaiters}. The connections are held ` +
      `by:\n${listHolders(holders)}\nAsk again a little later.`,
    holders,
    otherWaiters + 1,
  )
}

function listHolders(holders: readonly Holder[]): string {
  if (holders.length === 0) return '  nobody at this moment'
  return holders
    .map(({ label, site, heldMillis, sql, inTransaction }, index) => {
      const what = sql ?? (inTransaction ? 'nothing, in an open transaction' : 'nothing')
      const where = site === null ? '' : `, taken ${site}`
      return `  ${index + 1}. ${label ?? '(no label)'}, for ${Math.round(heldMillis)} ms, running ${what}${where}`
    })
    .join('\n')
}
