/** The contract of a session: one open connection to a database. */
import type { Cursor, Result, Statement } from './statement'

/** One open connection to a database. Its holder runs one call at a time. */
export interface Session {
  /** The driver's connection, by which Knex knows it. */
  readonly raw: object
  /** The reason why it must not be used again; null while it works. */
  readonly broken: Error | null
  readonly inTransaction: boolean
  /** True when {@link reset} has nothing to do. */
  readonly isClean: boolean
  /** The server's id of the open transaction, once that has written something; null if there is none. */
  readonly transactionId: string | null
  /**
   * Begins a transaction. BEGIN is kept until the first statement, and sent together with it. Undefined for databases
   * where BEGIN is sent at once.
   */
  begin?(sql: string): void
  /** True in a transaction begun by {@link begin} for which nothing has been sent. */
  readonly isBeginDeferred?: boolean
  /** The BEGIN given to {@link begin}, if the connection was lost before the first statement was answered; else null. */
  readonly unansweredBegin?: string | null
  run(statement: Statement): Promise<Result>
  /** Returns what became of the transaction with that id, which another session ran. */
  outcomeOf(transactionId: string): Promise<Outcome>
  /** `isExclusive`: nothing else uses the connection until the cursor is closed, so the cursor may hold a transaction. */
  openCursor(statement: Statement, isExclusive: boolean): Promise<Cursor>
  /**
   * Cancels the statement that runs now. Resolves when the cancel request is over, so that it cannot hit a later
   * statement. The promise of the cancelled statement rejects by itself.
   */
  cancel(): Promise<void>
  ping(): Promise<void>
  /**
   * Prepares it for the next holder. Resolves to a description of what had to be cleaned up, or null. `isNew`: it comes
   * from afterConnect, whose settings it keeps from now on.
   */
  reset(isNew?: boolean): Promise<string | null>
  /** Called when its holder gets the driver's connection, and may do with it what the session cannot see. */
  onRawExposed?(): void
  /** Sets the callback for a connection that is lost without having been closed here. */
  onLost(callback: () => void): void
  /** Called when a read-only server has refused a write. Returns whether the session is to be given up. */
  givesUpReadOnly?: () => boolean
  /** True if it is broken because the server, which has become read-only, has refused a statement: nothing of that has run. */
  readonly hasRefusedWrite?: boolean
  /**
   * Undoes all settings of its holder. `fresh`: it is as new, and afterConnect has to run again; `unchanged`: it stays as
   * it is, since all data are in it; `mustClose`: it has to be closed, since settings cannot be undone.
   */
  discardSettings(): Promise<'fresh' | 'unchanged' | 'mustClose'>
  /** Says whether its connection keeps the process alive. */
  keepProcessAlive(alive: boolean): void
  /** Breaks it at once, and cuts off what runs. Never throws. */
  destroy(): void
  /** Closes it; resolves when the server has closed its side, or after a while without that. Never rejects. */
  close(): Promise<void>
}

/** What became of a transaction whose connection was lost. `open`: the server has not noticed the loss yet. */
export type Outcome = 'committed' | 'rolled back' | 'open' | 'unknown'

/** A lock on a name, which one holder at a time can have among all processes that use a database. */
export interface NamedLock {
  /** Resolves to false when another holder has it now. */
  tryLock(): Promise<boolean>
  /** Gives the lock back, or gives up trying. Must be called in any case. */
  unlock(): Promise<void>
}

/** How sessions hear of notifications, which are sent to channels. */
export interface Notifications {
  /**
   * Returns the statement after which a session gets what is sent to a channel.
   *
   * @throws ConfigurationError for a name that no channel can have
   */
  listen(this: void, channel: string): Statement
  /** Returns the statement that ends this. */
  unlisten(this: void, channel: string): Statement
  /** Calls `notified` for each notification that a session gets. */
  watch(this: void, session: Session, notified: (channel: string, payload: string) => void): void
}
