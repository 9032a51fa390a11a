/** The cache of prepared statements of one connection to PostgreSQL, which evicts the least recently used one. */
import { createHash } from 'node:crypto'
import type { Statement } from '../driver/statement'
import { codeOf } from '../driver/driver-error'
import { isStalePlan } from './errors'
import { Executable, type Execution, type ExtendedQuery, type ExtendedQueryParts } from './extended-query'
import { MAX_TEXT_LENGTH } from '../sql/text-cache'
import { TRANSACTION_ID } from './transaction-state'

/** Statements that PostgreSQL plans, so that preparing them saves time. */
const PLANNED = new Set(['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'MERGE', 'VALUES', 'TABLE'])

/**
 * Literals such as 'now', which the server evaluates when it parses the statement: a prepared one would keep the old value.
 * https://www.postgresql.org/docs/current/datatype-datetime.html#DATATYPE-DATETIME-SPECIAL-VALUES
 */
const EVALUATED_ONCE = /'[^']*\b(?:now|today|tomorrow|yesterday)\b[^']*'/i

/** Returns whether a statement can be prepared, and is worth it. */
function isPreparable({ sql, shownSql, facts, driverOptions }: Statement): boolean {
  return (
    PLANNED.has(facts.verb) &&
    !facts.isMultiStatement &&
    driverOptions === undefined &&
    shownSql === undefined &&
    sql.length <= MAX_TEXT_LENGTH
  )
}

/** Statements after which a prepared statement may be gone, or mean something else: they change settings or the schema. */
const INVALIDATING = new Set(['CREATE', 'ALTER', 'DROP', 'DISCARD', 'DEALLOCATE', 'SET'])

/** Settings for one transaction that change neither the meaning nor the plan of any statement. */
const HARMLESS =
  /^\s*set\s+(?:transaction|constraints|local\s+(?:\w+\s*\.|\w*_timeout\b|application_name\b|synchronous_commit\b))/i

/** Statements that may undo a SET LOCAL or a change of the schema. ROLLBACK includes ROLLBACK TO a savepoint. */
const ENDS = new Set(['COMMIT', 'END', 'ROLLBACK', 'ABORT'])

/** SQLSTATE classes of the errors of a statement that was parsed for an older schema: data, names and types. */
const REFUSAL_CODES = /^(?:22|42|XX)/

/**
 * Why the server refused a prepared statement. `outdated`: its columns or the types of its values may have changed;
 * `unknown`: the server has no statement of that name, or has another one.
 */
export type Refusal = 'outdated' | 'unknown'

export class StatementCache {
  readonly #maxStatements: number
  /** The least recently used one comes first. */
  readonly #statements = new Map<string, Executable>()
  readonly #transactionId = namedStatement(TRANSACTION_ID)
  /** Names of statements to deallocate on the server, together with the next statement. */
  #toDeallocate: string[] = []
  /** True if a statement of the open transaction has invalidated plans: its end, or that of a savepoint, may undo that. */
  #invalidatedInTransaction = false

  /** `maxStatements`: how many statements are kept; each takes some kilobytes on the server. */
  constructor(maxStatements: number) {
    this.#maxStatements = maxStatements
  }

  /** Returns whether a statement is to be prepared. */
  accepts(statement: Statement): boolean {
    const { sql } = statement
    return isPreparable(statement) && (this.#statements.has(sql) || !EVALUATED_ONCE.test(sql))
  }

  /**
   * Returns the parts of the query for a statement. It starts with `begin` if that is not null, and also asks for the
   * transaction's id if `asksTransactionId`.
   */
  partsFor(
    sql: string,
    execution: Execution,
    begin: string | null,
    asksTransactionId: boolean,
  ): ExtendedQueryParts {
    const main = this.#prepared(sql)
    const before = begin === null ? null : this.#prepared(begin)
    const toDeallocate = this.#toDeallocate
    if (toDeallocate.length > 0) this.#toDeallocate = []
    return { ...execution, main, before, after: asksTransactionId ? this.#transactionId : null, toDeallocate }
  }

  /**
   * Returns why the server refused a statement before it ran, if another try can succeed; else null.
   * https://www.postgresql.org/docs/current/errcodes-appendix.html
   */
  refusalOf(error: Error, { main, wasParsed, hasStarted }: ExtendedQuery): Refusal | null {
    if (hasStarted) return null
    const code = codeOf(error)
    if (code === '26000' || code === '42P05') {
      this.clear()
      return 'unknown'
    }
    if (!wasParsed) return null
    if (isStalePlan(error)) {
      // Other statements on the same table are outdated as well.
      this.clear()
      return 'outdated'
    }
    // The reason may be a wrong value, or a type that a column no longer has: parsing it again tells.
    if (!REFUSAL_CODES.test(code)) return null
    this.#forget(main)
    return 'outdated'
  }

  /** Clears the cache if a statement, or the end of a transaction, may have made prepared statements outdated. */
  observe({ sql, facts: { verb, changesSession } }: Statement, isInTransaction: boolean): void {
    const isUndone = this.#invalidatedInTransaction && (ENDS.has(verb) || !isInTransaction)
    const invalidates = changesSession || (INVALIDATING.has(verb) && !HARMLESS.test(sql))
    if (isUndone || invalidates) this.clear()
    this.#invalidatedInTransaction = isInTransaction && (this.#invalidatedInTransaction || invalidates)
  }

  /** Has every statement parsed again before its next use. */
  clear(): void {
    for (const statement of [...this.#statements.values(), this.#transactionId]) this.#forget(statement)
  }

  #forget(statement: Executable): void {
    this.#statements.delete(statement.sql ?? '')
    if (statement.isParsed) this.#toDeallocate.push(statement.name)
    statement.isParsed = false
  }

  #prepared(sql: string): Executable {
    let statement = this.#statements.get(sql)
    if (statement === undefined) {
      const [oldest] = this.#statements.size < this.#maxStatements ? [] : this.#statements.values()
      if (oldest !== undefined) this.#forget(oldest)
      statement = namedStatement(sql)
    }
    // It goes to the end, as the last one used.
    this.#statements.delete(sql)
    this.#statements.set(sql, statement)
    return statement
  }
}

function namedStatement(sql: string): Executable {
  // The name is made from the text, so that it means the same on every connection.
  const hash = createHash('sha256').update(sql).digest('base64url').slice(0, 22)
  return new Executable(`millpond_${hash}`, sql)
}
