/** Says why somebody waited for a connection in vain: is the pool full, or the database out of reach? */
import { ConnectionError, type DatabaseError, type Holder, PoolTimeoutError } from '../errors'

export interface PoolState {
  readonly name: string
  readonly timeoutMillis: number
  /** How many connections there may be. */
  readonly maxConnections: number
  readonly holders: readonly Holder[]
  /** How many others wait. */
  readonly otherWaiters: number
  /** What was waited for is the turn to write, before a connection is taken. */
  readonly waitsToWrite: boolean
  /** How long the database has given no sign of life. */
  readonly silentMillis: number
  /** Why the last attempt to connect failed, if it did. */
  readonly lastFailure: DatabaseError | undefined
}

export function acquireTimeoutError(state: PoolState): DatabaseError {
  const { name, timeoutMillis, maxConnections, holders, otherWaiters, waitsToWrite, silentMillis } = state
  if (state.lastFailure !== undefined) return state.lastFailure
  const canOpenMore = !waitsToWrite && holders.length < maxConnections
  // A rush on a database that answers is the others' doing, even while more connections are being opened.
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

/** For one who does not even wait, because too many do. */
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
