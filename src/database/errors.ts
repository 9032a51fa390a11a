/**
 * The errors of this library, as one tree.
 *
 *     DatabaseError                      DATABASE_ERROR
 *     ├─ ConfigurationError              CONFIGURATION_INVALID
 *     ├─ NotConnectedError               NOT_CONNECTED
 *     ├─ ConnectionError                 CONNECTION_FAILED          retryable, if it can pass
 *     ├─ PoolTimeoutError   (holders)    POOL_TIMEOUT               retryable
 *     ├─ CursorError                     CURSOR_INVALID
 *     ├─ TransactionError                TRANSACTION_MISUSED
 *     │  ├─ TransactionClosedError       TRANSACTION_CLOSED
 *     │  └─ CommitUnknownError           COMMIT_UNKNOWN
 *     └─ QueryError         (sql)        QUERY_FAILED
 *        ├─ BindError                    BIND_INVALID
 *        ├─ RowError                     ROW_INVALID                (row, paths)
 *        ├─ UndefinedNameError           UNDEFINED_NAME
 *        ├─ ConstraintViolationError     CONSTRAINT_VIOLATION       (constraint, table, columns)
 *        │  ├─ UniqueViolationError      UNIQUE_VIOLATION
 *        │  ├─ ForeignKeyViolationError  FOREIGN_KEY_VIOLATION
 *        │  ├─ NotNullViolationError     NOT_NULL_VIOLATION
 *        │  └─ CheckViolationError       CHECK_VIOLATION
 *        ├─ SerializationError           SERIALIZATION_FAILURE      retryable
 *        ├─ QueryTimeoutError            QUERY_TIMEOUT
 *        └─ QueryCanceledError           QUERY_CANCELED
 *
 * A message says what happened, what it means and what to do. It never holds a bound value or a password.
 * `cause` is the driver's own error, which may quote values: never send it to a client.
 *
 * An awaited Knex builder rejects with the same classes, but with the driver's `code`, message and other fields, such as
 * `detail`, as programs on Knex expect.
 */

/** The standard ErrorOptions, which a program that is compiled with `lib` es2021 or older does not know. */
export interface CauseOptions {
  readonly cause?: unknown
}

/** The base class of every error that this library throws. */
export class DatabaseError extends Error {
  /** For programs; stable across releases. An awaited Knex builder rejects with the driver's own code. */
  readonly code: string = 'DATABASE_ERROR'
  /** True when the same call may succeed a little later. */
  readonly retryable: boolean = false

  constructor(message: string, options?: CauseOptions) {
    super(message, options)
    this.name = new.target.name
  }
}

/** A wrong URL, option or call: a bug in the program or its settings, never in the data. */
export class ConfigurationError extends DatabaseError {
  override readonly code: string = 'CONFIGURATION_INVALID'
}

/** The Database is not connected: connect() was not called, or disconnect() was. */
export class NotConnectedError extends DatabaseError {
  override readonly code: string = 'NOT_CONNECTED'
}

/** The database could not be reached, refused the log-in, or closed the connection. `cause` has the driver's reason. */
export class ConnectionError extends DatabaseError {
  override readonly code: string = 'CONNECTION_FAILED'
  /** False for permanent reasons: a wrong password, a database that does not exist, an unknown host. */
  override readonly retryable: boolean

  constructor(
    message: string,
    { retryable = true, ...options }: CauseOptions & { readonly retryable?: boolean } = {},
  ) {
    super(message, options)
    this.retryable = retryable
  }
}

/** A lent connection: who holds it, since when, and what it runs. */
export interface Holder {
  /** The scope's label, such as `POST /transfer`, or null outside of any scope. */
  readonly label: string | null
  /** The call site that took it, if it is recorded. */
  readonly site: string | null
  readonly heldMillis: number
  /** The text of the running statement, without values; null between statements. */
  readonly sql: string | null
  readonly inTransaction: boolean
}

/** All connections were in use for the whole acquire timeout. It says nothing about the health of the database. */
export class PoolTimeoutError extends DatabaseError {
  override readonly code: string = 'POOL_TIMEOUT'
  override readonly retryable: boolean = true

  constructor(
    message: string,
    /** The holders of the connections at that moment, longest first. */
    readonly holders: readonly Holder[],
    /** The number of other waiting callers. */
    readonly waiting: number,
    options?: CauseOptions,
  ) {
    super(message, options)
  }
}

/** A cursor of keyset() that is none, or that belongs to another order: a client has made it up, or kept it too long. */
export class CursorError extends DatabaseError {
  override readonly code: string = 'CURSOR_INVALID'
}

/** A wrong use of a transaction, or a COMMIT that the server turned into a rollback. */
export class TransactionError extends DatabaseError {
  override readonly code: string = 'TRANSACTION_MISUSED'
}

/** The statement did not run: its transaction or connection had already ended. */
export class TransactionClosedError extends TransactionError {
  override readonly code: string = 'TRANSACTION_CLOSED'
}

/** The connection was lost during COMMIT: the transaction may or may not be committed. Never retried. */
export class CommitUnknownError extends TransactionError {
  override readonly code: string = 'COMMIT_UNKNOWN'
}

/** A statement that failed. */
export class QueryError extends DatabaseError {
  override readonly code: string = 'QUERY_FAILED'

  constructor(
    message: string,
    /** The statement's text with its placeholders; values are never part of it. */
    readonly sql: string,
    options?: CauseOptions,
  ) {
    super(message, options)
  }
}

/** Values that do not fit the statement: a missing one, an extra one, or one of a type that cannot be bound. */
export class BindError extends QueryError {
  override readonly code: string = 'BIND_INVALID'
}

/** A table or a column of the statement does not exist: its name is misspelt, or a migration has not been run. */
export class UndefinedNameError extends QueryError {
  override readonly code: string = 'UNDEFINED_NAME'
}

/** A row that does not fit the schema of its query. The statement itself has run. */
export class RowError extends QueryError {
  override readonly code: string = 'ROW_INVALID'

  constructor(
    /** The number of the row in the result, from 1 up. */
    readonly row: number,
    /** What does not fit, as column and path: `email`, `address.city`. Empty for the row as a whole. */
    readonly paths: readonly string[],
    sql: string,
    /** `cause`: the schema's own issues, which may quote values. */
    options?: CauseOptions,
  ) {
    super(
      `Row ${row} does not fit the schema of the query${placesOf(paths)}. What the schema says of it is in the cause, ` +
        'and may quote values.',
      sql,
      options,
    )
  }
}

/** A document may have any number of wrong places. */
const MOST_PLACES = 10

function placesOf(paths: readonly string[]): string {
  if (paths.length === 0) return ''
  const named = paths.slice(0, MOST_PLACES).map((path) => `'${path}'`)
  const more = paths.length > MOST_PLACES ? ` and ${paths.length - MOST_PLACES} more` : ''
  return `, at ${named.join(', ')}${more}`
}

/** The violated constraint, as far as the database reports it. */
export interface Violation {
  readonly constraint: string | null
  readonly table: string | null
  readonly columns: readonly string[]
}

/** A constraint of the schema refused the rows. */
export class ConstraintViolationError extends QueryError implements Violation {
  override readonly code: string = 'CONSTRAINT_VIOLATION'
  readonly constraint: string | null
  readonly table: string | null
  /** Empty where the driver does not report them; never guessed. */
  readonly columns: readonly string[]

  constructor(message: string, sql: string, violation: Violation, options?: CauseOptions) {
    super(message, sql, options)
    this.constraint = violation.constraint
    this.table = violation.table
    this.columns = violation.columns
  }
}

/** The row exists already. */
export class UniqueViolationError extends ConstraintViolationError {
  override readonly code: string = 'UNIQUE_VIOLATION'
}

/** The referenced row does not exist, or other rows still reference this one. */
export class ForeignKeyViolationError extends ConstraintViolationError {
  override readonly code: string = 'FOREIGN_KEY_VIOLATION'
}

/** A NOT NULL column got no value. */
export class NotNullViolationError extends ConstraintViolationError {
  override readonly code: string = 'NOT_NULL_VIOLATION'
}

/** A CHECK constraint refused the row. */
export class CheckViolationError extends ConstraintViolationError {
  override readonly code: string = 'CHECK_VIOLATION'
}

/** A serialization failure, a deadlock, or a lock that another session holds: run the transaction again. */
export class SerializationError extends QueryError {
  override readonly code: string = 'SERIALIZATION_FAILURE'
  override readonly retryable: boolean = true
}

/** The statement ran into its time limit and was cancelled on the server. */
export class QueryTimeoutError extends QueryError {
  override readonly code: string = 'QUERY_TIMEOUT'
}

/** The statement was cancelled: by its AbortSignal, by its scope, or because its transaction ended. */
export class QueryCanceledError extends QueryError {
  override readonly code: string = 'QUERY_CANCELED'
}

/**
 * Returns the error of this library inside another one, such as Objection's wrapper or Knex's error for a builder's
 * `.timeout()`. Returns null for an error that has nothing to do with a database.
 *
 * @example
 * if (databaseErrorOf(error) instanceof UniqueViolationError) response.status(409).end()
 */
export function databaseErrorOf(error: unknown): DatabaseError | null {
  if (error instanceof DatabaseError) return error
  if (typeof error !== 'object' || error === null) return null
  const { name, cause, nativeError } = error as { name?: unknown; cause?: unknown; nativeError?: unknown }
  const inner = name === 'KnexTimeoutError' ? cause : nativeError
  return inner instanceof DatabaseError ? inner : null
}

/**
 * Attaches an error of the clean-up to an earlier error, in its `cleanupErrors`. The earlier one is thrown, since it is
 * the reason.
 */
export function attachCleanup(error: unknown, cleanup: unknown): void {
  if (typeof error !== 'object' || error === null || error === cleanup) return
  const earlier =
    'cleanupErrors' in error && Array.isArray(error.cleanupErrors) ? (error.cleanupErrors as unknown[]) : []
  Object.defineProperty(error, 'cleanupErrors', { value: [...earlier, cleanup], configurable: true })
}
