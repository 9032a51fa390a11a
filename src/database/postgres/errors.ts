/** Translates PostgreSQL's errors by their SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html */
import {
  CheckViolationError,
  ConnectionError,
  ConstraintViolationError,
  DatabaseError,
  ForeignKeyViolationError,
  NotNullViolationError,
  QueryCanceledError,
  QueryError,
  QueryTimeoutError,
  SerializationError,
  UndefinedNameError,
  UniqueViolationError,
  type Violation,
} from '../errors'
import type { DatabaseURL } from '../url'
import type { ConnectFailure } from '../driver/dialect'
import { codeOf, isStringTooLong, messageOf, messageWithoutData } from '../driver/driver-error'
import { UnreadableError } from './value-parsers'

/** The fields of an ErrorResponse, as pg provides them. */
interface ServerError {
  readonly severity: string
  readonly code: string
  readonly message: string
  readonly constraint?: string
  readonly table?: string
  readonly column?: string
  readonly detail?: string
}

/** Returns whether a prepared statement was refused because its columns have changed. Code 0A000 alone has other meanings too. */
export function isStalePlan(error: object): boolean {
  return 'routine' in error && codeOf(error) === '0A000' && error.routine === 'RevalidateCachedQuery'
}

/** Connect errors that go away by themselves: Node's codes and SQLSTATEs. */
const TRANSIENT_CODES = new Set([
  'ECONNREFUSED', 'ECONNRESET', 'ETIMEDOUT', 'EPIPE', 'EHOSTUNREACH', 'ENETUNREACH', 'EAI_AGAIN',
  '53300', '57P01', '57P02', '57P03',
]) // prettier-ignore

/**
 * What PgBouncer says when it cannot serve a client for a while: it gives most of its errors the code of a protocol violation,
 * those about a wrong name or password as well. Its messages are in src/client.c, objects.c and janitor.c.
 */
const POOLER_IS_WAITING =
  /server login has been failing|cannot connect to server|login_timeout|query_wait_timeout|shutting down|suspend_timeout|pause failed|connections (?:allowed|exceeded)|resources exhaustion|out of memory/i

/** Errors of a wrong address, and of a right one while its server, DNS name or socket file is being replaced. */
const UNKNOWN_ADDRESS = new Set(['ENOTFOUND', 'EAI_FAIL', 'ENOENT'])

/**
 * SQLSTATEs that the server sends when it closes the connection: for a shutdown, an administrator, a crash, a dropped
 * database, and the timeouts idle_session_timeout, idle_in_transaction_session_timeout and transaction_timeout.
 */
const HANG_UP_CODES = new Set(['57P01', '57P02', '57P03', '57P04', '57P05', '25P03', '25P04'])

export function translate(error: unknown, sql: string): DatabaseError {
  if (error instanceof DatabaseError) return error
  const cause = { cause: error }
  if (error instanceof UnreadableError) return new QueryError(error.message, sql, { cause: error.cause })
  if (isStringTooLong(error)) {
    return new QueryError(
      'A value of the statement, or a row or message of its answer, is longer than a string may be. Write or read it in parts.',
      sql,
      cause,
    )
  }
  if (isHangUp(error)) {
    return new ConnectionError(`The server closed the connection: ${error.message}.`, cause)
  }
  if (!isServerError(error)) {
    const reason = messageOf(error)
    return isTransientError(error)
      ? new ConnectionError(
          `The connection to the database was lost while a statement ran: ${reason}.`,
          cause,
        )
      : new QueryError(`The statement could not be sent: ${reason}`, sql, cause)
  }
  const violation: Violation = {
    constraint: error.constraint ?? null,
    table: error.table ?? null,
    columns: columnsOf(error),
  }
  const where = violation.constraint === null ? '' : ` (${violation.constraint})`
  switch (error.code) {
    case '23505':
      return new UniqueViolationError(
        `The row exists already: its key is taken${where}.`,
        sql,
        violation,
        cause,
      )
    case '23503':
      return new ForeignKeyViolationError(
        `A row that is referred to does not exist, or is still referred to${where}.`,
        sql,
        violation,
        cause,
      )
    case '23502':
      return new NotNullViolationError(
        `Column ${violation.columns.join(', ')} must have a value.`,
        sql,
        violation,
        cause,
      )
    case '23514':
      return new CheckViolationError(`A check of the table refused the row${where}.`, sql, violation, cause)
    case '40001':
    case '40P01':
      return new SerializationError(
        `The database ended this transaction in favour of another (${error.code === '40P01' ? 'deadlock' : 'serialization failure'}). ` +
          'Run the whole transaction again: transaction(work, { retries: 3 }) does.',
        sql,
        cause,
      )
    case '0A000':
      if (!isStalePlan(error)) break
      return new SerializationError(
        'A table has been altered that an earlier statement of this connection was prepared for, and the transaction ' +
          'with it was spoilt. Run the whole transaction again: transaction(work, { retries: 3 }) does.',
        sql,
        cause,
      )
    case '57014':
      // Only the message has the reason, in the language of the server. Where it is not English, a timeout is likelier.
      if (error.message.includes('user request'))
        return new QueryCanceledError('The statement was cancelled by the server.', sql, cause)
      return new QueryTimeoutError(
        'The statement was cancelled by the statement_timeout of the server.',
        sql,
        cause,
      )
    case '55P03':
      return new SerializationError(
        'The lock that the statement needs is held by others, and was not waited for any longer (lock_timeout, NOWAIT). ' +
          'Run the whole transaction again a little later: transaction(work, { retries: 3 }) does.',
        sql,
        cause,
      )
    case '42P01':
    case '42703':
      return new UndefinedNameError(
        `${messageWithoutData(error)} (SQLSTATE ${error.code}). Is the name right, and was the migration run that makes it?`,
        sql,
        cause,
      )
    case '25P02':
      return new QueryError(
        'The transaction was aborted by an earlier error, so nothing runs in it any more. Let that error leave the ' +
          'transaction, or put the statement that may fail into a transaction of its own inside.',
        sql,
        cause,
      )
    default:
      if (error.code.startsWith('23')) {
        return new ConstraintViolationError(`A constraint refused the row${where}.`, sql, violation, cause)
      }
  }
  return new QueryError(`${messageWithoutData(error)} (SQLSTATE ${error.code})`, sql, cause)
}

/** Translates an error from connecting. `wasReached`: the server was reached at this address before. */
export function connectFailure(error: unknown, url: DatabaseURL, wasReached: boolean): ConnectFailure {
  if (error instanceof DatabaseError && !(error instanceof ConnectionError))
    return { error, isTransient: false }
  // An error from afterConnect is translated already; its cause, the driver's error, decides whether it is transient.
  const root = error instanceof ConnectionError ? (error.cause ?? error) : error
  const code = codeOf(root)
  const reason = messageOf(root) || code
  const isTransient = isTransientError(root) || (wasReached && UNKNOWN_ADDRESS.has(code))
  return {
    error: new ConnectionError(`Could not connect to ${url.toString()}: ${reason}.${advice(code)}`, {
      cause: error,
      retryable: isTransient,
    }),
    isTransient,
    isServerFull: code === '53300' || /connections (?:allowed|exceeded)/.test(reason),
  }
}

/** Returns whether a connect error goes away by itself. */
export function isTransientError(error: unknown): boolean {
  return (
    /^Connection terminated|timeout expired|not queryable|was closed|socket|read E|write E/i.test(
      messageOf(error),
    ) ||
    TRANSIENT_CODES.has(codeOf(error)) ||
    (codeOf(error) === '08P01' && POOLER_IS_WAITING.test(messageOf(error)))
  )
}

function advice(code: string): string {
  switch (code) {
    case 'ECONNREFUSED':
      return ' Nothing listens there: is the server running, and is the port right?'
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
      return ' Its certificate is not of an authority that is trusted: name the right one with sslrootcert.'
    case 'ENOTFOUND':
      return ' The host name is unknown.'
    case '28P01':
    case '28000':
      return ' Check the user name and the password.'
    case '3D000':
      return ' Create the database first.'
    case '53300':
      return ' The server has no connection left: add up the pools of all processes against its max_connections.'
    default:
      return ''
  }
}

/** Returns the error for a write that the server refused because it is read-only; null if `error` is another one. */
export function readOnlyServerError(error: unknown): ConnectionError | null {
  if (codeOf(error) !== '25006') return null
  return new ConnectionError(
    'The server takes no writes: it is a standby, or has become read-only, as after a failover. Its connections are replaced; ' +
      'try again.',
    { cause: error },
  )
}

function isServerError(error: unknown): error is ServerError {
  return typeof error === 'object' && error !== null && 'severity' in error && codeOf(error) !== ''
}

/** Returns whether the server closes the connection with this error. `severity` is in the language of the server. */
export function isHangUp(error: unknown): error is ServerError {
  return isServerError(error) && (HANG_UP_CODES.has(error.code) || /^(?:FATAL|PANIC)$/.test(error.severity))
}

/** Reads the key's columns from the detail, in any language: `Key (lower(email), tenant)=(…) already exists.` */
function columnsOf(error: ServerError): readonly string[] {
  if (error.column !== undefined) return [error.column]
  const key = /\(((?:[^()]|\([^()]*\))*)\)=\(/.exec(error.detail ?? '')?.[1]
  return key?.split(/,\s*(?![^(]*\))/).map((column) => column.replaceAll('"', '')) ?? []
}
