/** Prepared statements of one connection to PostgreSQL: parsed once by the server, kept under a name, the least used forgotten. */
import { createHash } from 'node:crypto'
import type pg from 'pg'
import type { Statement } from './dialect'
import {
  type Columns,
  NO_COLUMNS,
  PreparedResult,
  toArray,
  toColumns,
  toRow,
  type Types,
} from './postgres-rows'
import { close, describe, nameBytes, parse, run, SYNC } from './postgres-wire'
import { LONGEST_KEPT } from './text-cache'

/** What PostgreSQL plans, and so is worth keeping the plan of. */
const PLANNED = new Set(['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'MERGE', 'VALUES', 'TABLE'])

/** Statements after which what was prepared may not be there any more, or mean something else. */
const UNSETTLING = new Set(['CREATE', 'ALTER', 'DROP', 'DISCARD', 'DEALLOCATE'])

const TRANSACTION_ID = 'SELECT txid_current()::text'

/** Whether a statement is one that can be prepared, and is worth it. */
export function isPreparable({ sql, shownSql, facts, driverOptions }: Statement): boolean {
  return (
    PLANNED.has(facts.verb) &&
    !facts.isSeveral &&
    driverOptions === undefined &&
    shownSql === undefined &&
    sql.length <= LONGEST_KEPT
  )
}

interface Prepared {
  readonly sql: string
  readonly name: Buffer
  /** The server has it. */
  isParsed: boolean
  /** Known once the server has described it. */
  columns: Columns | null
}

/** What pg's Client lets a query of one's own do, and its types leave out. */
interface Wire {
  readonly stream: { write(bytes: Buffer): void; readonly writable: boolean }
  on(event: 'parseComplete', listener: () => void): void
}

export interface Connected extends Types {
  readonly connection: unknown
  query(query: object): void
}

export class PreparedStatements {
  readonly #raw: Connected
  readonly #most: number
  readonly #known = new Map<string, Prepared>()
  readonly #transactionId = toPrepared(TRANSACTION_ID)
  /** Names that the server is to forget, with the next statement. */
  #outdated: Buffer[] = []
  /** Those that are being parsed, in the order of their answers. */
  #parsing: Prepared[] = []

  /** `most`: how many are kept. The server keeps some kilobytes for each. */
  constructor(raw: Connected, most: number) {
    this.#raw = raw
    this.#most = most
    const wire = raw.connection as Wire
    wire.on('parseComplete', () => {
      const parsed = this.#parsing.shift()
      if (parsed !== undefined) parsed.isParsed = true
    })
  }

  /** Runs a statement, together with the question for the id of its transaction if `identifies`. */
  run(statement: Statement, identifies: boolean): Promise<PreparedResult> {
    const prepared = this.#prepared(statement.sql)
    return new Promise((resolve, reject) => {
      const fail = (error: Error): void => {
        // What it had still to parse the server skips, and the next one to be parsed is not ours, perhaps.
        this.#parsing = []
        reject(error)
      }
      const query = new PreparedQuery(this.#raw, prepared, statement, resolve, fail)
      query.message = this.#messageOf(prepared, statement, identifies)
      this.#raw.query(query)
    })
  }

  /** Keeps up with what another statement has done to those that are prepared. */
  follow(verb: string): void {
    if (UNSETTLING.has(verb)) this.forget()
  }

  /** All are parsed anew: what they mean may have changed. */
  forget(): void {
    for (const prepared of [...this.#known.values(), this.#transactionId]) {
      if (prepared.isParsed) this.#outdated.push(prepared.name)
      prepared.isParsed = false
    }
    this.#known.clear()
  }

  #prepared(sql: string): Prepared {
    const known = this.#known
    let prepared = known.get(sql)
    if (prepared === undefined) {
      prepared = toPrepared(sql)
      if (known.size >= this.#most) this.#forgetOldest()
    } else {
      known.delete(sql)
    }
    // The one that was used last is the last in the map.
    known.set(sql, prepared)
    return prepared
  }

  #forgetOldest(): void {
    for (const [sql, { name, isParsed }] of this.#known) {
      this.#known.delete(sql)
      if (isParsed) this.#outdated.push(name)
      return
    }
  }

  #messageOf(prepared: Prepared, statement: Statement, identifies: boolean): readonly Buffer[] {
    const takesFirst = statement.take === 'first' && statement.facts.isRead
    const bound = run(prepared.name, statement.bindings, takesFirst ? 'one' : 'all')
    const parts = this.#outdated.map(close)
    this.#outdated = []
    if (!prepared.isParsed) {
      this.#parsing.push(prepared)
      // It may have been parsed by a statement whose answer was lost on the way.
      parts.push(close(prepared.name), parse(prepared.name, prepared.sql))
    }
    if (prepared.columns === null) parts.push(describe(prepared.name))
    parts.push(bound)
    if (identifies) {
      const id = this.#transactionId
      if (!id.isParsed) {
        this.#parsing.push(id)
        parts.push(parse(id.name, id.sql))
      }
      parts.push(run(id.name, [], 'all'))
    }
    parts.push(SYNC)
    return parts
  }
}

function toPrepared(sql: string): Prepared {
  // By its text, so that a name says the same on every connection.
  const hash = createHash('sha256').update(sql).digest('base64url').slice(0, 22)
  return { sql, name: nameBytes(`millpond_${hash}`), isParsed: false, columns: null }
}

/** What pg's Client hands the server's answers to: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY */
class PreparedQuery {
  message: readonly Buffer[] = []
  readonly #raw: Connected
  readonly #prepared: Prepared
  readonly #asArrays: boolean
  readonly #resolve: (result: PreparedResult) => void
  readonly #reject: (error: Error) => void
  readonly #rows: unknown[] = []
  #tag: string | null = null
  #transactionId: string | null = null
  /** What a parser of one of its values threw. */
  #failure: Error | null = null

  constructor(
    raw: Connected,
    prepared: Prepared,
    statement: Statement,
    resolve: (result: PreparedResult) => void,
    reject: (error: Error) => void,
  ) {
    this.#raw = raw
    this.#prepared = prepared
    this.#asArrays = statement.asArrays === true
    this.#resolve = resolve
    this.#reject = reject
  }

  submit({ stream }: Wire): null {
    if (stream.writable) {
      const [first, ...rest] = this.message
      stream.write(rest.length === 0 && first !== undefined ? first : Buffer.concat(this.message))
    }
    return null
  }

  handleRowDescription({ fields }: { readonly fields: readonly pg.FieldDef[] }): void {
    this.#prepared.columns = toColumns(this.#raw, fields)
  }

  handleDataRow({ fields }: { readonly fields: readonly (string | null)[] }): void {
    if (this.#tag !== null) {
      this.#transactionId = fields[0] ?? null
      return
    }
    const { columns } = this.#prepared
    if (columns === null || this.#failure !== null) return
    try {
      this.#rows.push(this.#asArrays ? toArray(fields, columns) : toRow(fields, columns))
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error), { cause: error })
    }
  }

  handleCommandComplete({ text }: { readonly text: string }): void {
    this.#tag ??= text
  }

  /** After the first row of several. The Sync that was sent along ends the rest. */
  handlePortalSuspended(): void {}

  handleError(error: Error): void {
    this.#reject(error)
  }

  handleReadyForQuery(): void {
    if (this.#failure !== null) {
      this.#reject(this.#failure)
      return
    }
    // A statement without columns is not described by anything.
    const columns = (this.#prepared.columns ??= NO_COLUMNS)
    this.#resolve(new PreparedResult(this.#tag ?? '', this.#rows, columns, this.#transactionId))
  }
}
