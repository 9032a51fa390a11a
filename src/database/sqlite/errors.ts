/** Translates SQLite's errors by their message, because the driver sqlite3 gives only the primary result code. */
import { messageOf } from '../driver/driver-error'
import {
  type CauseOptions,
  CheckViolationError,
  ConnectionError,
  ConstraintViolationError,
  DatabaseError,
  ForeignKeyViolationError,
  NotNullViolationError,
  QueryCanceledError,
  QueryError,
  SerializationError,
  UndefinedNameError,
  UniqueViolationError,
  type Violation,
} from '../errors'

export function translate(error: unknown, sql: string): DatabaseError {
  if (error instanceof DatabaseError) return error
  const message = messageOf(error)
  const [, code = '', text = message] = /^(SQLITE_[A-Z]+)(?:_[A-Z_]+)?: (.*)$/s.exec(message) ?? []
  const cause = { cause: error }
  switch (code) {
    case 'SQLITE_CONSTRAINT':
      return translateViolation(text, sql, cause)
    case 'SQLITE_BUSY':
    case 'SQLITE_LOCKED':
      return new SerializationError(
        'The database file was locked for too long, by another process or by a statement on connection.raw of this ' +
          'one. Run the transaction again: transaction(work, { retries: 3 }) does.',
        sql,
        cause,
      )
    case 'SQLITE_INTERRUPT':
      return new QueryCanceledError('The statement was interrupted.', sql, cause)
    case 'SQLITE_MISUSE':
      return new ConnectionError(`The connection to the database file is closed: ${text}.`, cause)
    default:
      return UNDEFINED_NAME.test(text)
        ? new UndefinedNameError(
            `${text}. Is the name right, and was the migration run that makes it?`,
            sql,
            cause,
          )
        : new QueryError(text, sql, cause)
  }
}

const UNDEFINED_NAME = /^no such (?:table|column): |^table \S+ has no column named /

function translateViolation(text: string, sql: string, cause: CauseOptions): ConstraintViolationError {
  const [, kind = '', rest = ''] = /^([A-Z ]+) constraint failed(?:: (.*))?$/s.exec(text) ?? []
  const violation = violationOf(kind, rest)
  const make = (Violation: typeof ConstraintViolationError, message: string): ConstraintViolationError =>
    new Violation(message, sql, violation, cause)
  switch (kind) {
    case 'UNIQUE':
      return make(UniqueViolationError, `The row exists already: its key is taken (${rest}).`)
    case 'NOT NULL':
      return make(NotNullViolationError, `Column ${violation.columns[0]} must have a value.`)
    case 'FOREIGN KEY':
      return make(
        ForeignKeyViolationError,
        'A row that is referred to does not exist, or is still referred to.',
      )
    case 'CHECK':
      return make(CheckViolationError, `A check of the table refused the row (${rest}).`)
    default:
      return make(ConstraintViolationError, `A constraint refused the row: ${text}.`)
  }
}

/** Reads the columns `users.tenant, users.email`, `index 'name'`, or the name of a check. */
function violationOf(kind: string, text: string): Violation {
  const [, index] = /^index '(.*)'$/.exec(text) ?? []
  if (kind === 'CHECK' || index !== undefined) return { constraint: index ?? text, table: null, columns: [] }
  const pairs = text.split(', ').map((column) => column.split('.'))
  const columns = pairs.flatMap(([, column]) => column ?? [])
  return { constraint: null, table: columns.length === 0 ? null : (pairs[0]?.[0] ?? null), columns }
}
