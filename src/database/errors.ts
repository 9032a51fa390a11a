/**
 * Everything that goes wrong with a database, as one tree.
 *
 *     DatabaseError                      DATABASE_ERROR
 *     ├─ ConfigurationError              CONFIGURATION_INVALID
 *     ├─ NotConnectedError               NOT_CONNECTED
 *     ├─ ConnectionError                 CONNECTION_FAILED          retryable, if it may pass
 *     ├─ PoolTimeoutError   (holders)    POOL_TIMEOUT               retryable
 *     ├─ TransactionError                TRANSACTION_MISUSED
 *     │  ├─ TransactionClosedError       TRANSACTION_CLOSED
 *     │  └─ CommitUnknownError           COMMIT_UNKNOWN
 *     └─ QueryError         (sql)        QUERY_FAILED
 *        ├─ BindError                    BIND_INVALID
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
 * The driver's own error is kept as `cause`; that one may quote values, so it belongs in no answer to a client.
 *
 * A Knex builder that is awaited rejects with the same classes, but says what happened as Knex does: `code` and the
 * message are the driver's there, and so are its other fields, such as `detail`.
 */

/** The root: every error that this library throws is one. */
export class DatabaseError extends Error {
  /** Stable across releases: for programs, where the message is for people. The driver's own from an awaited Knex builder. */
  readonly code: string = 'DATABASE_ERROR'
  /** True when the same call may well succeed if made again a little later. */
  readonly retryable: boolean = false

  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
  }
}

/** A URL, an option or a call that cannot work: a bug in the program or its settings, never in the data. */
export class ConfigurationError extends DatabaseError {
  override readonly code: string = 'CONFIGURATION_INVALID'
}

/** The Database is not connected: before connect(), while disconnecting, or after disconnect(). */
export class NotConnectedError extends DatabaseError {
  override readonly code: string = 'NOT_CONNECTED'
}

/** The database could not be reached, refused the log-in, or hung up. `cause` has the driver's reason. */
export class ConnectionError extends DatabaseError {
  override readonly code: string = 'CONNECTION_FAILED'
  /** False for what does not pass by itself: a wrong password, a database that does not exist, an unknown host. */
  override readonly retryable: boolean

  constructor(
    message: string,
    { retryable = true, ...options }: ErrorOptions & { readonly retryable?: boolean } = {},
  ) {
    super(message, options)
    this.retryable = retryable
  }
}

/** A connection that is out: who holds it, since when, and what it runs. */
export interface Holder {
  /** The scope's label, such as `POST /transfer`, or null outside of any scope. */
  readonly label: string | null
  /** Where in the program it was taken, when that is recorded. */
  readonly site: string | null
  readonly heldMillis: number
  /** The text of the statement that runs now, or null between statements. Never values. */
  readonly sql: string | null
  readonly inTransaction: boolean
}

/** All connections were in use for the whole of the acquire timeout. The database itself may be quite well. */
export class PoolTimeoutError extends DatabaseError {
  override readonly code: string = 'POOL_TIMEOUT'
  override readonly retryable: boolean = true

  constructor(
    message: string,
    /** Who held the connections at that moment, longest first. */
    readonly holders: readonly Holder[],
    /** How many others were waiting. */
    readonly waiting: number,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}

/** A transaction used in a way that cannot work, or a COMMIT that the server turned into a rollback. */
export class TransactionError extends DatabaseError {
  override readonly code: string = 'TRANSACTION_MISUSED'
}

/** A statement was sent through a transaction or connection that had already ended. It did not run. */
export class TransactionClosedError extends TransactionError {
  override readonly code: string = 'TRANSACTION_CLOSED'
}

/** The connection was lost around COMMIT: the work may or may not be in the database. Never retried. */
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
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}

/** Values that do not fit the statement: one is missing, one too many, or of a kind that cannot be bound. */
export class BindError extends QueryError {
  override readonly code: string = 'BIND_INVALID'
}

/** Which constraint was broken, as far as the database says. */
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
  /** Empty where the driver does not tell; never guessed. */
  readonly columns: readonly string[]

  constructor(message: string, sql: string, violation: Violation, options?: ErrorOptions) {
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

/** The row that this one points to does not exist, or others still point to this one. */
export class ForeignKeyViolationError extends ConstraintViolationError {
  override readonly code: string = 'FOREIGN_KEY_VIOLATION'
}

/** A column that must have a value got none. */
export class NotNullViolationError extends ConstraintViolationError {
  override readonly code: string = 'NOT_NULL_VIOLATION'
}

/** A CHECK constraint said no. */
export class CheckViolationError extends ConstraintViolationError {
  override readonly code: string = 'CHECK_VIOLATION'
}

/** A serialization failure, a deadlock, or a lock that others hold: the transaction is to be tried again. */
export class SerializationError extends QueryError {
  override readonly code: string = 'SERIALIZATION_FAILURE'
  override readonly retryable: boolean = true
}

/** The statement took longer than it was allowed to and was cancelled on the server. */
export class QueryTimeoutError extends QueryError {
  override readonly code: string = 'QUERY_TIMEOUT'
}

/** The statement was cancelled: by its AbortSignal, by its scope, or because its transaction ended. */
export class QueryCanceledError extends QueryError {
  override readonly code: string = 'QUERY_CANCELED'
}

/**
 * Finds the error of this library that another one stands for: one that Objection has wrapped, or Knex's own for a
 * builder's `.timeout()`. Returns null for an error that has nothing to do with a database.
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
 * Attaches what went wrong while cleaning up after an error, as its `cleanupErrors`. The first error stays the one
 * that is thrown: it is the one that says why.
 */
export function attachCleanup(error: unknown, cleanup: unknown): void {
  if (typeof error !== 'object' || error === null || error === cleanup) return
  const earlier =
    'cleanupErrors' in error && Array.isArray(error.cleanupErrors) ? (error.cleanupErrors as unknown[]) : []
  Object.defineProperty(error, 'cleanupErrors', { value: [...earlier, cleanup], configurable: true })
}
