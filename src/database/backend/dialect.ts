/** What millpond must know about a database, so that nobody else has to. */
import type { Knex } from 'knex'
import type { DatabaseError } from '../errors'
import type { Mutex } from '../mutex'
import type { Settings } from '../options'
import type { DatabaseURL } from '../url'
import type { Lexicon, ParsedSql } from './sql-text'

export type Row = Record<string, unknown>

export type Facts = Pick<
  ParsedSql,
  'verb' | 'laterVerbs' | 'isSeveral' | 'isRead' | 'hasReturning' | 'isRepeatable' | 'changesSession'
>

/** What decides how a connection is lent for a statement. */
export type Access = Pick<ParsedSql, 'isRead' | 'isRepeatable'>

export const WRITE: Access = { isRead: false, isRepeatable: false }
/** A piece of a result: the pieces before it are gone. */
export const STREAM: Access = { isRead: true, isRepeatable: false }

/** Names as they are written in SQL. */
export interface Target {
  readonly table: string
  readonly columns: readonly string[]
}

/** One statement, ready for the driver. */
export interface Statement {
  readonly sql: string
  readonly bindings: readonly unknown[]
  /** What errors and events show instead of a text that repeats itself for hundreds of rows. */
  readonly shownSql?: string
  /** A part of what its caller wants, who asks for no id. */
  readonly isOneOfMany?: boolean
  readonly facts: Facts
  /** Where its bindings go, row by row, if it inserts them and does nothing else. A database may know a faster way. */
  readonly into?: Target | undefined
  /** What the caller is after: it decides how the driver is asked. */
  readonly take: 'all' | 'first' | 'count'
  /** Rows as arrays keep columns of the same name apart. */
  readonly asArrays?: boolean
  /** Knex's `.options({…})`, handed to the driver. */
  readonly driverOptions?: object
  /** Makes rows what the builder's user is to see of them: Knex's `postProcessResponse`, where that is set. */
  readonly process?: (response: unknown) => unknown
  /** Knex's `.timeout(ms)`: how long it may run, on top of all other limits. */
  readonly timeoutMillis?: number
}

export function shownSql({ sql, shownSql: shown }: Pick<Statement, 'sql' | 'shownSql'>): string {
  return shown ?? sql
}

export interface Result {
  /** Objects, or arrays when `asArrays` was asked for. */
  readonly rows: readonly unknown[]
  /** Rows that the statement inserted, updated or deleted. */
  readonly rowCount: number
  /** The rowid that an INSERT gave, on databases that have such a thing. */
  readonly lastInsertId: number | null
  /** What the database says it did: `COMMIT` may come back as `ROLLBACK`. */
  readonly command: string
  /** The driver's own answer, under the names by which Knex's dialects look for it. */
  readonly forKnex: { readonly response: unknown; readonly context?: unknown }
}

/** An open result that is read piece by piece. */
export interface Cursor {
  /** Known after a piece that was shorter than it might have been. */
  readonly isAtEnd: boolean
  /** The next rows: at most `count`, or as many as are worth a journey. */
  read(count: number | null): Promise<readonly Row[]>
  close(): Promise<void>
}

/** What became of a transaction whose connection was lost. `open`: the server has not noticed the loss yet. */
export type Outcome = 'committed' | 'rolled back' | 'open' | 'unknown'

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
  readonly isEmpty?: boolean
  /** How a transaction was begun so, if the connection was lost before its first statement was answered; else null. */
  readonly unbegun?: string | null
  run(statement: Statement): Promise<Result>
  /** What became of the transaction that another session had under that id. */
  outcomeOf(transactionId: string): Promise<Outcome>
  /** `alone`: nobody else will use the connection until the cursor is closed, so it may hold a transaction. */
  openCursor(statement: Statement, alone: boolean): Promise<Cursor>
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
  exposed?(): void
  /** Calls back when the connection is lost without anybody having closed it. */
  whenLost(callback: () => void): void
  /**
   * Puts everything that a user has set on it back. `new`: it is as it was opened, and afterConnect is due again; `kept`: it
   * has to stay as it is, since all data are in it; `spent`: it can only be closed.
   */
  renew(): Promise<'new' | 'kept' | 'spent'>
  /** Whether it keeps the process alive. */
  hold(alive: boolean): void
  /** Makes it broken at once and cuts off whatever runs. Never throws. */
  destroy(): void
  /** Takes leave properly; resolves when the server has let go, or after a while without it. Never rejects. */
  close(): Promise<void>
}

/** A name that one at a time may have, among all processes that use a database. */
export interface Exclusion {
  /** Resolves to false when somebody else has it now. */
  tryEnter(): Promise<boolean>
  /** Gives it back, or up. To be called in any case. */
  leave(): Promise<void>
}

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

export interface Beginning {
  /** Statements that open it. */
  readonly open: readonly string[]
  /** They cannot fail but with the connection, so that they may go together with the first statement. */
  readonly waits?: boolean
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
  /** The same for the Knex command line, by its name if that is all it needs. */
  readonly commandLineClient: string | typeof Knex.Client
  knexConfig(url: DatabaseURL, settings: Settings): Knex.Config
  /** True when the database is its one connection, so that there is no second one to ping by. */
  readonly isSingle: boolean
  /** How long a cancelled statement may take to end before its connection is given up. */
  readonly cancelGraceMillis: number
  /** True when the driver runs all statements of a text; otherwise it drops those behind the first, without a word. */
  readonly runsSeveral: boolean
  /** True when nothing runs in a transaction any more after a statement in it has failed. */
  readonly errorAbortsTransaction: boolean
  /** Has Knex's client open a connection, which is given up as soon as `signal` is aborted, if it can be. */
  dial(client: Knex.Client, signal: AbortSignal): Promise<object>
  /** Makes a session of a connection that has just been opened; given up in the same way. */
  open(raw: object, settings: Settings, signal: AbortSignal): Promise<Session>
  /** Looks at an open connection. `ask` fetches one value by it. */
  security(raw: object, ask: (sql: string) => Promise<unknown>): Promise<Security>

  /** How a transaction of this kind is opened on a session as it is now. */
  begin(modes: TransactionModes, session: Session): Beginning
  /** Where those who are going to write wait, outside of the pool, when the database takes one writer at a time; else null. */
  readonly door: Mutex | null

  /**
   * Prepares to have a name for oneself. Whoever has it loses it with its process.
   *
   * @param open opens a connection beside the pool
   * @param lost is called when the name was lost while it was had
   */
  exclusion(name: string, open: () => Promise<Session>, lost: () => void): Promise<Exclusion>

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
