/** Prepared statements of one connection to PostgreSQL: parsed once by the server, kept under a name, the least used forgotten. */
import { createHash } from 'node:crypto'
import type { Statement } from '../driver/statement'
import { codeOf } from '../driver/driver-error'
import type { SessionTypes } from './array-types'
import { isStalePlan } from './errors'
import { type Connected, type Prepared, PreparedQuery, type Wire } from './prepared-query'
import { invalidatesPlans, mayUndo } from './plan-invalidation'
import { close, describe, nameBytes, parse, run } from './protocol'
import { MAX_TEXT_LENGTH } from '../sql/text-cache'

/** What PostgreSQL plans, and so is worth keeping the plan of. */
const PLANNED = new Set(['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'MERGE', 'VALUES', 'TABLE'])

/**
 * The server reads such a literal when it parses the statement, so that it would stay what it was then:
 * https://www.postgresql.org/docs/current/datatype-datetime.html#DATATYPE-DATETIME-SPECIAL-VALUES
 */
const MOMENT = /'[^']*\b(?:now|today|tomorrow|yesterday)\b[^']*'/i

/** Errors by which a statement is refused that was parsed for what is there no more: about data, names and types. */
const REFUSALS = /^(?:22|42|XX)/

const TRANSACTION_ID = 'SELECT txid_current()::text'

/** Whether a statement is one that can be prepared, and is worth it. */
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
 * `outdated`: what the statement was parsed for, its columns or the types of its values, may have changed; `unknown`: the
 * server knows none of that name, or another one.
 */
export type Refusal = 'outdated' | 'unknown'

/** A prepared statement that was sent. */
export interface Attempt {
  readonly prepared: PreparedStatements
  readonly query: PreparedQuery
  readonly statement: Statement
  /** It is a transaction of its own. */
  readonly isWhole: boolean
  /** BEGIN, where that was sent in front of it. */
  readonly begin: string | null
  /** How the transaction was begun whose first statement it is. */
  readonly begun: string | null
}

export class PreparedStatements {
  readonly #types: SessionTypes
  readonly #most: number
  readonly #known = new Map<string, Prepared>()
  #runs = 0
  readonly #transactionId = toPrepared(TRANSACTION_ID)
  /** Names that the server is to forget, with the next statement. */
  #outdated: Buffer[] = []
  /** Those that are being parsed, in the order of their answers. */
  #parsing: Prepared[] = []
  /** How many the server has still to plan, up to the one that runs now: then it has begun with that. */
  #unboundMessages = 0
  /** Something was unsettled in the transaction that is open, by whose end that is undone, or by that of a savepoint. */
  #isUnsettled = false

  /**
   * `most`: how many are kept. The server keeps some kilobytes for each. `heard` is called when it has begun with what was
   * sent.
   */
  constructor(raw: Connected, types: SessionTypes, most: number, heard: () => void) {
    this.#types = types
    this.#most = most
    const wire = raw.connection as Wire
    wire.on('parseComplete', () => {
      const parsed = this.#parsing.shift()
      if (parsed !== undefined) parsed.isParsed = true
    })
    wire.on('bindComplete', () => {
      if (this.#unboundMessages > 0) this.#unboundMessages -= 1
      heard()
    })
  }

  /** Whether a statement is to be prepared. */
  takes(statement: Statement): boolean {
    const { sql } = statement
    return isPreparable(statement) && (this.#known.has(sql) || !MOMENT.test(sql))
  }

  /**
   * The query for a statement, behind the one that begins its transaction if that has still to be sent, and together with
   * the question for the id of the transaction if `identifies`. It is to be sent before anything else is.
   *
   * @throws what pg throws for a value that it cannot write
   */
  queryFor(statement: Statement, begin: string | null, identifies: boolean): PreparedQuery {
    const prepared = this.#prepared(statement.sql)
    const wasKept = prepared.isParsed
    const message = this.#messageOf(prepared, statement, begin, identifies)
    this.#unboundMessages = begin === null ? 1 : 2
    return new PreparedQuery(this.#types, { prepared, wasKept, statement, message, begins: begin !== null })
  }

  /** Why a statement that failed was refused before it ran, if that is no fault of its: then it is worth another try. */
  refusalOf(error: Error, { prepared, wasKept }: PreparedQuery): Refusal | null {
    // What it had still to parse the server skips, and the next one to be parsed is not ours, perhaps.
    this.#parsing = []
    return this.#unboundMessages === 0 ? null : this.#refusalOf(error, prepared, wasKept)
  }

  /** Keeps up with what another statement has done to those that are prepared, or the end of a transaction. */
  follow(statement: Statement, isInTransaction: boolean): void {
    const isUndone = this.#isUnsettled && (mayUndo(statement) || !isInTransaction)
    const unsettles = invalidatesPlans(statement)
    if (isUndone || unsettles) this.forget()
    this.#isUnsettled = isInTransaction && (this.#isUnsettled || unsettles)
  }

  /** All are parsed anew: what they mean may have changed. */
  forget(): void {
    for (const prepared of [...this.#known.values(), this.#transactionId]) {
      if (prepared.isParsed) this.#outdated.push(prepared.name)
      prepared.isParsed = false
    }
    this.#known.clear()
  }

  /** https://www.postgresql.org/docs/current/errcodes-appendix.html */
  #refusalOf(error: Error, prepared: Prepared, wasKept: boolean): Refusal | null {
    const code = codeOf(error)
    if (code === '26000' || code === '42P05') {
      this.forget()
      return 'unknown'
    }
    if (!wasKept) return null
    if (isStalePlan(error)) {
      // Others of the same table are no better.
      this.forget()
      return 'outdated'
    }
    // Nobody knows whether it is parsed for a type that a column has no more, or the value is wrong.
    if (!REFUSALS.test(code)) return null
    this.#known.delete(prepared.sql)
    this.#outdated.push(prepared.name)
    return 'outdated'
  }

  #prepared(sql: string): Prepared {
    let prepared = this.#known.get(sql)
    if (prepared === undefined) {
      prepared = toPrepared(sql)
      if (this.#known.size >= this.#most) this.#forgetOldest()
      this.#known.set(sql, prepared)
    }
    this.#runs += 1
    prepared.lastRun = this.#runs
    return prepared
  }

  #forgetOldest(): void {
    let oldest: Prepared | undefined
    for (const one of this.#known.values()) if (one.lastRun < (oldest?.lastRun ?? Infinity)) oldest = one
    if (oldest === undefined) return
    this.#known.delete(oldest.sql)
    if (oldest.isParsed) this.#outdated.push(oldest.name)
  }

  #messageOf(
    prepared: Prepared,
    statement: Statement,
    begin: string | null,
    identifies: boolean,
  ): readonly Buffer[] {
    const takesFirst = statement.take === 'first' && statement.facts.isRead
    const bound = run(prepared.name, statement.bindings, takesFirst ? 'one' : 'all', !identifies)
    const parts = this.#outdated.map(close)
    this.#outdated = []
    if (begin !== null) parts.push(...this.#whole(this.#prepared(begin), false))
    parts.push(...this.#parsed(prepared))
    if (prepared.columns === null) parts.push(describe(prepared.name))
    parts.push(bound)
    if (identifies) parts.push(...this.#whole(this.#transactionId, true))
    return parts
  }

  /** One without values. */
  #whole(prepared: Prepared, isLast: boolean): readonly Buffer[] {
    return [...this.#parsed(prepared), run(prepared.name, [], 'all', isLast)]
  }

  /** What makes the server parse it, if it has not. */
  #parsed(prepared: Prepared): readonly Buffer[] {
    if (prepared.isParsed) return []
    this.#parsing.push(prepared)
    // It may have been parsed by a statement whose answer was lost on the way.
    return [close(prepared.name), parse(prepared.name, prepared.sql)]
  }
}

function toPrepared(sql: string): Prepared {
  // By its text, so that a name says the same on every connection.
  const hash = createHash('sha256').update(sql).digest('base64url').slice(0, 22)
  return { sql, name: nameBytes(`millpond_${hash}`), isParsed: false, lastRun: 0, columns: null }
}
