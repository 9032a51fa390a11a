/** The contract of a dialect: everything, besides the driver's sessions, that differs between databases. */
import type { NamedLock, Notifications, Session } from './session'
import type { Knex } from 'knex'
import type { DatabaseError } from '../errors'
import type { Mutex } from '../context/mutex'
import type { Settings } from '../options'
import type { DatabaseURL } from '../url'
import type { Lexicon } from './statement'

export interface TransactionModes {
  readonly isolation?: IsolationLevel
  readonly readOnly?: boolean
  readonly deferrable?: boolean
}

export const ISOLATION_LEVELS = [
  'read uncommitted',
  'read committed',
  'repeatable read',
  'serializable',
] as const
export type IsolationLevel = (typeof ISOLATION_LEVELS)[number]

/** The statements around a transaction, besides COMMIT and ROLLBACK. */
export interface TransactionStatements {
  /** Statements that begin it. */
  readonly open: readonly string[]
  /** True when they fail only if the connection does, so that they may be sent together with the first statement. */
  readonly canBeDeferred?: boolean
  /** Statements to run after it has ended. */
  readonly close: readonly string[]
}

/** What operators should know of a connection. */
export interface Security {
  /** Its user may do anything on the server: one injection endangers all databases there. */
  readonly isSuperuser: boolean
  /** The connection leaves this machine. */
  readonly isRemote: boolean
  readonly isEncrypted: boolean
}

/** SQL for Knex's raw(): each `??` stands for a name. */
export interface RawSql {
  readonly sql: string
  readonly bindings: readonly string[]
}

/** A kind of database, as one Database uses it. */
export interface Dialect {
  readonly name: 'postgresql' | 'sqlite'
  readonly lexicon: Lexicon
  /** The placeholder for the n-th binding, counted from 1. */
  placeholder(this: void, n: number): string
  /**
   * Writes `… IN (:list)`. `before` is the text up to the opening parenthesis, included.
   *
   * @returns the text up to the closing parenthesis, excluded
   */
  writeList(
    before: string,
    isNegated: boolean,
    values: readonly unknown[],
    bind: (value: unknown) => string,
  ): string
  /**
   * Returns the value in the form in which the driver binds it without loss.
   *
   * @throws Error whose message completes the sentence "The value of :name …"
   */
  toDriver(value: unknown): unknown
  /** Does the same for the bindings of a Knex builder, where objects and arrays stand for JSON documents. */
  toDriverFromBuilder(value: unknown): unknown
  /**
   * Returns SQL for a JSON array of the values of columns. Each is a text that {@link parseExact} makes the same value of,
   * to the last digit; NULL is null.
   */
  exactTexts(this: void, columns: readonly string[]): RawSql
  /** Returns undefined for a text that no column gives. */
  parseExact(this: void, text: string): unknown

  /** Knex's client class for this database, and how it connects. */
  readonly Client: typeof Knex.Client
  /** Knex's client for the Knex CLI; where that runs on millpond's sessions, the statements that set one up. */
  readonly commandLine: string | typeof Knex.Client | { readonly setUp: readonly string[] }
  knexConfig(url: DatabaseURL, settings: Settings): Knex.Config
  /** True when the database exists only in its one connection, so that a second one cannot reach it. */
  readonly isSingle: boolean
  /** How long a cancelled statement may take to end before its connection is destroyed. */
  readonly cancelGraceMillis: number
  /** True when the driver runs all statements of a text; otherwise it silently drops those after the first. */
  readonly runsMultiStatements: boolean
  /** True when a failed statement makes its transaction refuse all further ones. */
  readonly errorAbortsTransaction: boolean
  /** Opens a connection by Knex's client. Stops as soon as `signal` is aborted, if the driver can. */
  dial(client: Knex.Client, signal: AbortSignal): Promise<object>
  /** Makes a session of a new connection. Stops as soon as `signal` is aborted, if the driver can. */
  open(raw: object, settings: Settings, signal: AbortSignal): Promise<Session>
  /** Examines an open connection. `ask` fetches one value on it. */
  security(raw: object, ask: (sql: string) => Promise<unknown>): Promise<Security>

  /** Returns the statements for a transaction with these modes, for the session's present state. */
  begin(modes: TransactionModes, session: Session): TransactionStatements
  /** Writers take it before they take a connection; null unless the database takes one writer at a time. */
  readonly writeMutex: Mutex | null

  /**
   * Prepares a lock on a name among all processes that use the database. It ends with the process that has it.
   *
   * @param open opens a connection beside the pool
   * @param lost is called when the lock is lost while it is held
   * @param signal ends a try that gets no answer
   */
  namedLock(
    name: string,
    open: () => Promise<Session>,
    lost: () => void,
    signal: AbortSignal,
  ): Promise<NamedLock>

  /** LISTEN and NOTIFY; null for a database that has no such thing. */
  readonly notifications: Notifications | null

  /** Turns the driver's error into a DatabaseError. */
  translate(error: unknown, sql: string): DatabaseError
  /** Does the same for an error from opening a connection. */
  translateConnect(error: unknown): ConnectFailure
}

export interface ConnectFailure {
  readonly error: DatabaseError
  /** True when it may go away by itself: a server that restarts, or has no room for one more connection. */
  readonly isTransient: boolean
  /** True if the server is there, and has no connection left. */
  readonly isServerFull?: boolean
}
