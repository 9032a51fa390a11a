/** The contract of a session: one open connection to a database. */
import type { Cursor, Result, Statement } from './statement'

/** A live connection to the database. Whoever holds it sees to it that one call runs at a time. */
export interface Session {
  /** The driver's connection, by which Knex knows it. */
  readonly raw: object
  /** Why it must not be used again, or null. */
  readonly broken: Error | null
  readonly inTransaction: boolean
  /** Nothing on it is left open that {@link reset} would have to end. */
  readonly isClean: boolean
  /** What the server knows its open transaction by, once it has written something; null where there is no such thing. */
  readonly transactionId: string | null
  /**
   * Begins a transaction by a statement that is kept until the first one in it, and sent together with that. Not there
   * where BEGIN has to be sent at once.
   */
  begin?(sql: string): void
  /** In a transaction that was begun so, and for which nothing has been sent. */
  readonly isBeginDeferred?: boolean
  /** How a transaction was begun so, if the connection was lost before its first statement was answered; else null. */
  readonly unansweredBegin?: string | null
  run(statement: Statement): Promise<Result>
  /** What became of the transaction that another session had under that id. */
  outcomeOf(transactionId: string): Promise<Outcome>
  /** `alone`: nobody else will use the connection until the cursor is closed, so it may hold a transaction. */
  openCursor(statement: Statement, isExclusive: boolean): Promise<Cursor>
  /**
   * Stops the statement that runs now. Resolves when the request is over, so that it cannot hit a later statement;
   * the statement itself then fails by its own promise.
   */
  cancel(): Promise<void>
  ping(): Promise<void>
  /**
   * Makes it fit for the next user. Resolves to what had to be cleaned up, or null. `isNew`: what afterConnect has set is
   * how it is to be from now on.
   */
  reset(isNew?: boolean): Promise<string | null>
  /** Told when its user gets the driver's connection, with which he may do what nobody notices. */
  onRawExposed?(): void
  /** Calls back when the connection is lost without anybody having closed it. */
  onLost(callback: () => void): void
  /**
   * Puts everything that a user has set on it back. `new`: it is as it was opened, and afterConnect is due again; `kept`: it
   * has to stay as it is, since all data are in it; `spent`: it can only be closed.
   */
  discardSettings(): Promise<'fresh' | 'unchanged' | 'mustClose'>
  /** Whether it keeps the process alive. */
  keepProcessAlive(alive: boolean): void
  /** Makes it broken at once and cuts off whatever runs. Never throws. */
  destroy(): void
  /** Takes leave properly; resolves when the server has let go, or after a while without it. Never rejects. */
  close(): Promise<void>
}

/** What became of a transaction whose connection was lost. `open`: the server has not noticed the loss yet. */
export type Outcome = 'committed' | 'rolled back' | 'open' | 'unknown'

/** A name that one at a time may have, among all processes that use a database. */
export interface NamedLock {
  /** Resolves to false when somebody else has it now. */
  tryLock(): Promise<boolean>
  /** Gives it back, or up. To be called in any case. */
  unlock(): Promise<void>
}
