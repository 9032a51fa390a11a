/** The cache of prepared statements of one connection to PostgreSQL, which evicts the least recently used one. */
import { createHash } from 'node:crypto'
import type { Statement } from '../driver/statement'
import { codeOf } from '../driver/driver-error'
import type { SessionTypeParsers } from './array-types'
import { isStalePlan } from './errors'
import type { RawConnection } from './client'
import { activeQuery } from './client-queue'
import { type CachedStatement, PreparedQuery } from './prepared-query'
import { invalidatesPlans, mayUndoChanges } from './plan-invalidation'
import { closeStatement, describeStatement, nameBytes, parse, bindAndExecute } from './protocol'
import { MAX_TEXT_LENGTH } from '../sql/text-cache'

/** Statements that PostgreSQL plans, so that preparing them saves time. */
const PLANNED = new Set(['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'MERGE', 'VALUES', 'TABLE'])

/**
 * Literals such as 'now', which the server evaluates when it parses the statement: a prepared one would keep the old value.
 * https://www.postgresql.org/docs/current/datatype-datetime.html#DATATYPE-DATETIME-SPECIAL-VALUES
 */
const EVALUATED_ONCE = /'[^']*\b(?:now|today|tomorrow|yesterday)\b[^']*'/i

/** SQLSTATE classes of the errors of a statement that was parsed for an older schema: data, names and types. */
const REFUSAL_CODES = /^(?:22|42|XX)/

const TRANSACTION_ID = 'SELECT txid_current()::text'

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

/**
 * Why the server refused a prepared statement. `outdated`: its columns or the types of its values may have changed;
 * `unknown`: the server has no statement of that name, or has another one.
 */
export type Refusal = 'outdated' | 'unknown'

/** A run of a prepared statement that failed. */
export interface FailedRun {
  readonly prepared: StatementCache
  readonly query: PreparedQuery
  readonly statement: Statement
  /** True if the statement ran outside of a transaction. */
  readonly wasIdle: boolean
  /** The BEGIN that was sent in front of it, or null. */
  readonly begin: string | null
  /** The BEGIN that can restart the transaction if this is its first statement; else null. */
  readonly restartSql: string | null
}

export class StatementCache {
  readonly #types: SessionTypeParsers
  readonly #maxStatements: number
  readonly #statements = new Map<string, CachedStatement>()
  #useCount = 0
  readonly #transactionId = newStatement(TRANSACTION_ID)
  /** Names of statements to deallocate on the server, together with the next statement. */
  #toDeallocate: Buffer[] = []
  /** Statements whose ParseComplete is expected, in order. */
  #awaitingParse: CachedStatement[] = []
  /** BindComplete messages still expected; 0 means that the statement has started. */
  #pendingBinds = 0
  /** True if a statement of the open transaction has invalidated plans: its end, or that of a savepoint, may undo that. */
  #invalidatedInTransaction = false

  /**
   * `maxStatements`: how many statements are kept; each takes some kilobytes on the server. `onStarted` is called when the server has
   * accepted the values of a statement.
   */
  constructor(raw: RawConnection, types: SessionTypeParsers, maxStatements: number, onStarted: () => void) {
    this.#types = types
    this.#maxStatements = maxStatements
    // pg may run a query of the caller, which has answers of the same kind.
    const runsPrepared = (): boolean => activeQuery(raw) instanceof PreparedQuery
    const { connection } = raw
    connection.on('parseComplete', () => {
      const parsed = runsPrepared() ? this.#awaitingParse.shift() : undefined
      if (parsed !== undefined) parsed.isParsed = true
    })
    connection.on('bindComplete', () => {
      if (!runsPrepared()) return
      if (this.#pendingBinds > 0) this.#pendingBinds -= 1
      onStarted()
    })
  }

  /** Returns whether a statement is to be prepared. */
  accepts(statement: Statement): boolean {
    const { sql } = statement
    return isPreparable(statement) && (this.#statements.has(sql) || !EVALUATED_ONCE.test(sql))
  }

  /**
   * Makes the query for a statement. It starts with `begin` if that is not null, and also asks for the transaction's id if
   * `asksTransactionId`. The caller has to send it before any other query.
   *
   * @throws what pg throws for a value that it cannot write
   */
  queryFor(statement: Statement, begin: string | null, asksTransactionId: boolean): PreparedQuery {
    const prepared = this.#prepared(statement.sql)
    const wasParsed = prepared.isParsed
    const message = this.#messagesFor(prepared, statement, begin, asksTransactionId)
    this.#pendingBinds = begin === null ? 1 : 2
    return new PreparedQuery(this.#types, {
      prepared,
      wasParsed,
      statement,
      message,
      startsWithBegin: begin !== null,
    })
  }

  /** Returns why the server refused a statement before it ran, if another try can succeed; else null. */
  refusalOf(error: Error, { prepared, wasParsed }: PreparedQuery): Refusal | null {
    // After an error the server skips the rest, so that its next ParseComplete may be for a query of the caller.
    this.#awaitingParse = []
    return this.#pendingBinds === 0 ? null : this.#reasonOfRefusal(error, prepared, wasParsed)
  }

  /** Clears the cache if a statement, or the end of a transaction, may have made prepared statements outdated. */
  observe(statement: Statement, isInTransaction: boolean): void {
    const isUndone = this.#invalidatedInTransaction && (mayUndoChanges(statement) || !isInTransaction)
    const invalidates = invalidatesPlans(statement)
    if (isUndone || invalidates) this.clear()
    this.#invalidatedInTransaction = isInTransaction && (this.#invalidatedInTransaction || invalidates)
  }

  /** Has every statement parsed again before its next use. */
  clear(): void {
    for (const prepared of [...this.#statements.values(), this.#transactionId]) {
      if (prepared.isParsed) this.#toDeallocate.push(prepared.name)
      prepared.isParsed = false
    }
    this.#statements.clear()
  }

  /** https://www.postgresql.org/docs/current/errcodes-appendix.html */
  #reasonOfRefusal(error: Error, prepared: CachedStatement, wasParsed: boolean): Refusal | null {
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
    this.#statements.delete(prepared.sql)
    this.#toDeallocate.push(prepared.name)
    return 'outdated'
  }

  #prepared(sql: string): CachedStatement {
    let prepared = this.#statements.get(sql)
    if (prepared === undefined) {
      prepared = newStatement(sql)
      if (this.#statements.size >= this.#maxStatements) this.#evictOldest()
      this.#statements.set(sql, prepared)
    }
    this.#useCount += 1
    prepared.lastUse = this.#useCount
    return prepared
  }

  #evictOldest(): void {
    let oldest: CachedStatement | undefined
    for (const one of this.#statements.values()) if (one.lastUse < (oldest?.lastUse ?? Infinity)) oldest = one
    if (oldest === undefined) return
    this.#statements.delete(oldest.sql)
    if (oldest.isParsed) this.#toDeallocate.push(oldest.name)
  }

  #messagesFor(
    prepared: CachedStatement,
    statement: Statement,
    begin: string | null,
    asksTransactionId: boolean,
  ): readonly Buffer[] {
    const takesFirst = statement.take === 'first' && statement.facts.isRead
    const bound = bindAndExecute(
      prepared.name,
      statement.bindings,
      takesFirst ? 'one' : 'all',
      !asksTransactionId,
    )
    const parts = this.#toDeallocate.map(closeStatement)
    this.#toDeallocate = []
    if (begin !== null) parts.push(...this.#messagesWithoutValues(this.#prepared(begin), false))
    parts.push(...this.#parseMessages(prepared))
    if (prepared.columns === null) parts.push(describeStatement(prepared.name))
    parts.push(bound)
    if (asksTransactionId) parts.push(...this.#messagesWithoutValues(this.#transactionId, true))
    return parts
  }

  /** Returns the messages that run a statement without values. */
  #messagesWithoutValues(prepared: CachedStatement, isLast: boolean): readonly Buffer[] {
    return [...this.#parseMessages(prepared), bindAndExecute(prepared.name, [], 'all', isLast)]
  }

  /** Returns the messages that have the server parse a statement, none if it has it. */
  #parseMessages(prepared: CachedStatement): readonly Buffer[] {
    if (prepared.isParsed) return []
    this.#awaitingParse.push(prepared)
    // Close comes first: the server may have parsed it for a statement whose answer was lost.
    return [closeStatement(prepared.name), parse(prepared.name, prepared.sql)]
  }
}

function newStatement(sql: string): CachedStatement {
  // The name is made from the text, so that it means the same on every connection.
  const hash = createHash('sha256').update(sql).digest('base64url').slice(0, 22)
  return { sql, name: nameBytes(`millpond_${hash}`), isParsed: false, lastUse: 0, columns: null }
}
