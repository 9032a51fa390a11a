/** Rows read piece by piece from SQLite, whose driver knows no cursors. */
import type sqlite3 from 'sqlite3'
import { TransactionClosedError } from '../errors'
import type { Cursor, Row, Statement } from './dialect'
import { Blocks, inBlocks, sizesFor } from './sqlite-blocks'
import { all, exec, type RawConnection, send } from './sqlite-driver'
import type { SqlitePrepared } from './sqlite-prepared'
import type { Writably } from './sqlite-transactions'
import { type Column, withExactIntegers } from './sqlite-types'

/** Rows in a piece, where its reader does not say. */
const USUAL_PIECE = 256

/** Steps of a statement, one row each. */
interface Steps {
  readonly prepared: sqlite3.Statement
  /** Adds the rows that a step gives. */
  add(this: void, step: Row, rows: Row[]): void
}

/**
 * Steps through a prepared statement. It sees what is written while it is read, so nothing else may be written on its
 * connection meanwhile.
 */
export function openStepping(raw: RawConnection, statement: Statement, columns: readonly Column[]): Cursor {
  let opening: Promise<Steps> | undefined
  /** Read, and not asked for yet. */
  const rows: Row[] = []
  let hasEnded = false
  return {
    get isAtEnd() {
      return hasEnded && rows.length === 0
    },
    async read(most) {
      const count = most ?? USUAL_PIECE
      // Only now, since the size of the pieces decides how it is best asked.
      const { prepared, add } = await (opening ??= stepsOf(raw, statement, columns, count))
      // `get` takes one step, so that rows are made as they are asked for; `each` would push them all. Never one `get`
      // more than there are rows: after the last one the driver starts the statement again.
      await new Promise<void>((resolve, reject) => {
        const next = (): void => {
          if (hasEnded || rows.length >= count) {
            resolve()
            return
          }
          prepared.get<Row>((error, step) => {
            hasEnded = step === undefined
            if (step !== undefined) add(step, rows)
            if (error) reject(error)
            else next()
          })
        }
        next()
      })
      return rows.splice(0, count)
    },
    async close() {
      const steps = await opening?.catch(() => null)
      if (steps) await new Promise((resolve) => steps.prepared.finalize(resolve))
    },
  }
}

/** What is declared so would mostly come by itself: bytes, and numbers with a fraction. */
const ALONE = /blob|real|floa|doub|dec|numeric/i
/** What SQLite computes anew for each query around it, so that not even its order would be kept. */
const RANDOM = /\brandom(?:blob)?\s*\(/i

async function stepsOf(
  raw: RawConnection,
  statement: Statement,
  columns: readonly Column[],
  piece: number,
): Promise<Steps> {
  const sizes = sizesFor(piece)
  const isKnown = columns.length > 0
  const suits = !columns.some(({ declared }) => ALONE.test(declared)) && !RANDOM.test(statement.sql)
  if (isKnown && sizes.short > 1 && suits) {
    const blocks = new Blocks(columns.map(({ name }) => name))
    const sql = inBlocks(statement.sql, columns.length, sizes)
    const prepared = await prepare(raw, { ...statement, sql }).catch(() => null)
    // There are bounds to how long a statement may be, and how deep.
    if (prepared !== null) return { prepared, add: (step, rows) => blocks.add(step, rows) }
  }
  const prepared = await prepare(raw, exact(statement, columns))
  return { prepared, add: (step, rows) => rows.push(step) }
}

/** The same query, where its columns are known, with all digits of its integers. */
function exact(statement: Statement, columns: readonly Column[]): Statement {
  return columns.length === 0 ? statement : { ...statement, sql: withExactIntegers(statement.sql, columns) }
}

let copies = 0

/**
 * Reads from a copy of the result, in the temporary database: a loop that writes into the table it reads would see its
 * own rows and never end, and a savepoint that is rolled back would end the statement.
 */
export async function openCopy(
  raw: RawConnection,
  prepared: SqlitePrepared,
  statement: Statement,
  columns: readonly Column[],
  writably: Writably,
): Promise<Cursor> {
  const name = `millpond_cursor_${(copies += 1)}`
  const sql = `CREATE TEMP TABLE ${name} AS ${exact(statement, columns).sql}`
  const facts = { ...statement.facts, verb: 'CREATE' }
  await writably(() => send(prepared, { ...statement, sql, facts, take: 'all' }))
  let taken = 0
  let isAtEnd = false
  return {
    get isAtEnd() {
      return isAtEnd
    },
    async read(most) {
      const count = most ?? USUAL_PIECE
      const sql = `SELECT * FROM temp.${name} WHERE _rowid_ > ?1 ORDER BY _rowid_ LIMIT ?2`
      const rows = await all(raw, sql, [taken, count])
      taken += rows.length
      isAtEnd = rows.length < count
      return rows
    },
    // It may be gone already, with a savepoint that was rolled back.
    close: () => writably(() => exec(raw, `DROP TABLE IF EXISTS temp.${name}`)),
  }
}

function prepare(raw: RawConnection, { sql, bindings }: Statement): Promise<sqlite3.Statement> {
  return new Promise((resolve, reject) => {
    const prepared = raw.prepare(sql, [...bindings], (error: Error | null) => {
      if (error) reject(error)
      else resolve(prepared)
    })
  })
}

/** The same cursor, but read and closed in another way. */
export function readBy(
  cursor: Cursor,
  read: Cursor['read'],
  close: Cursor['close'] = () => cursor.close(),
): Cursor {
  return {
    get isAtEnd() {
      return cursor.isAtEnd
    },
    read,
    close,
  }
}

interface OpenCursor {
  readonly opening: Promise<Cursor>
  readonly inTransaction: boolean
}

/** The cursors of one connection that their readers have not closed. */
export class OpenCursors {
  readonly #open = new Set<OpenCursor>()

  get count(): number {
    return this.#open.size
  }

  async add(opening: Promise<Cursor>, inTransaction: boolean): Promise<Cursor> {
    // Kept from before it is open, so that a connection that is closed meanwhile waits for it.
    const entry = { opening, inTransaction }
    this.#open.add(entry)
    try {
      const cursor = await opening
      const read: Cursor['read'] = (count) => {
        if (!this.#open.has(entry)) throw endedBefore()
        return cursor.read(count)
      }
      return readBy(cursor, read, () => this.#close(entry))
    } catch (error) {
      this.#open.delete(entry)
      throw error
    }
  }

  async closeAll(): Promise<void> {
    for (const entry of this.#open) await this.#close(entry)
  }

  /** When the transaction has ended that they were opened in. */
  async closeInTransaction(): Promise<void> {
    for (const entry of this.#open) if (entry.inTransaction) await this.#close(entry)
  }

  async #close(entry: OpenCursor): Promise<void> {
    if (!this.#open.delete(entry)) return
    const cursor = await entry.opening.catch(() => null)
    await cursor?.close()
  }
}

function endedBefore(): TransactionClosedError {
  return new TransactionClosedError(
    'The rows that are left cannot be read: the transaction that they were read in has ended. Read them before.',
  )
}
