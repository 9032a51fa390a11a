/** What millpond must know about a database, so that nobody else has to. */
import type { NamedLock, Session } from './session'
import type { Knex } from 'knex'
import type { DatabaseError } from '../errors'
import type { Mutex } from '../context/mutex'
import type { Settings } from '../options'
import type { DatabaseURL } from '../url'
import type { Lexicon } from './parsed-sql'

export interface TransactionModes {
  readonly isolation?: IsolationLevel | undefined
  readonly readOnly?: boolean | undefined
  readonly deferrable?: boolean | undefined
}

export const ISOLATION_LEVELS = [
  'read uncommitted',
  'read committed',
  'repeatable read',
  'serializable',
] as const
export type IsolationLevel = (typeof ISOLATION_LEVELS)[number]

export interface TransactionStatements {
  /** Statements that open it. */
  readonly open: readonly string[]
  /** They cannot fail but with the connection, so that they may go together with the first statement. */
  readonly canBeDeferred?: boolean
  /** Statements to run once it has ended. */
  readonly close: readonly string[]
}

/** What operators should know of a connection. */
export interface Security {
  /** Its user may do anything on the server, so that one injection would be the end of all its databases. */
  readonly isSuperuser: boolean
  /** It leaves this machine. */
  readonly isRemote: boolean
  readonly isEncrypted: boolean
}

/** A kind of database, as one Database uses it. */
export interface Dialect {
  readonly name: 'postgresql' | 'sqlite'
  readonly lexicon: Lexicon
  /** The placeholder for the n-th binding, counted from 1. */
  placeholder(this: void, n: number): string
  /**
   * Writes `… IN (:list)`. `before` ends in the opening parenthesis.
   *
   * @returns the text up to, but without, the closing parenthesis
   */
  writeList(
    before: string,
    isNegated: boolean,
    values: readonly unknown[],
    bind: (value: unknown) => string,
  ): string
  /**
   * The value as the driver takes it without loss.
   *
   * @throws Error whose message completes the sentence "The value of :name …"
   */
  toDriver(value: unknown): unknown
  /** The same for the bindings of a Knex builder, where objects and arrays stand for documents. */
  toDriverFromBuilder(value: unknown): unknown

  /** Knex's client class for this database, and how it connects. */
  readonly Client: typeof Knex.Client
  /** Knex's client for its command line, or what each connection begins with where that runs on sessions of ours. */
  readonly commandLine: string | typeof Knex.Client | { readonly setUp: readonly string[] }
  knexConfig(url: DatabaseURL, settings: Settings): Knex.Config
  /** True when the database is its one connection, so that there is no second one to ping by. */
  readonly isSingle: boolean
  /** How long a cancelled statement may take to end before its connection is given up. */
  readonly cancelGraceMillis: number
  /** True when the driver runs all statements of a text; otherwise it drops those behind the first, without a word. */
  readonly runsMultiStatements: boolean
  /** True when nothing runs in a transaction any more after a statement in it has failed. */
  readonly errorAbortsTransaction: boolean
  /** Has Knex's client open a connection, which is given up as soon as `signal` is aborted, if it can be. */
  dial(client: Knex.Client, signal: AbortSignal): Promise<object>
  /** Makes a session of a connection that has just been opened; given up in the same way. */
  open(raw: object, settings: Settings, signal: AbortSignal): Promise<Session>
  /** Looks at an open connection. `ask` fetches one value by it. */
  security(raw: object, ask: (sql: string) => Promise<unknown>): Promise<Security>

  /** How a transaction of this kind is opened on a session as it is now. */
  begin(modes: TransactionModes, session: Session): TransactionStatements
  /** Where those who are going to write wait, outside of the pool, when the database takes one writer at a time; else null. */
  readonly writeMutex: Mutex | null

  /**
   * Prepares to have a name for oneself. Whoever has it loses it with its process.
   *
   * @param open opens a connection beside the pool
   * @param lost is called when the name was lost while it was had
   */
  namedLock(name: string, open: () => Promise<Session>, lost: () => void): Promise<NamedLock>

  /** Turns the driver's error into one of ours. */
  translate(error: unknown, sql: string): DatabaseError
  /** The same for an error from opening a connection. */
  translateConnect(error: unknown): ConnectFailure
}

export interface ConnectFailure {
  readonly error: DatabaseError
  /** True when it may go away by itself: a server that restarts, a full house. */
  readonly isTransient: boolean
}
