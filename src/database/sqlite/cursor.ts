/** Results of SQLite that are read in pieces. */
import { BufferedCursor } from '../backend/buffered-cursor'
import type { Cursor, Row, Statement } from '../backend/dialect'
import { QueryError, TransactionClosedError } from '../errors'
import type { Bound, SqliteConnection, Steps } from './driver'

const USUAL_PIECE = 256
/** How much is read ahead; of a database in memory all, since it has no other connection, and holds all rows already. */
const AHEAD: Bound = { rows: 100_000, bytes: 2 ** 26 }

/**
 * Reads a whole result where others use the connection too: a statement that is open there would see what they write, be ended
 * by a cancel that is meant for theirs, and end with a savepoint that is rolled back.
 *
 * @throws QueryError when it is larger than may be held in memory
 */
export async function readAhead(
  connection: SqliteConnection,
  statement: Statement,
  isMemory: boolean,
): Promise<Row[]> {
  const rows = await (isMemory ? connection.all(statement) : connection.upTo(statement, AHEAD))
  if (rows !== null) return rows
  throw new QueryError(
    `iterate() in a transaction, or on a connection that is held, reads its rows into memory: ${AHEAD.rows} of them or ` +
      `${AHEAD.bytes / 2 ** 20} MB at most, and there are more. Iterate outside of it, or read by pages: ` +
      'WHERE id > :last ORDER BY id LIMIT :size.',
    statement.sql,
  )
}

/** Reads from rows in memory, as long as the transaction lasts that they are of. */
export class AheadCursor extends BufferedCursor {
  readonly #isOver: () => boolean

  constructor(rows: readonly Row[], isOver: () => boolean) {
    super(rows)
    this.#isOver = isOver
  }

  override async read(count: number | null): Promise<readonly Row[]> {
    if (!this.#isOver()) return super.read(count ?? USUAL_PIECE)
    throw new TransactionClosedError(
      'The rows that are left cannot be read: the transaction that they were read in has ended. Read them before.',
    )
  }
}

/** Reads from a statement that is open, on a connection that nobody else uses meanwhile. */
export class SteppingCursor implements Cursor {
  readonly #steps: Steps
  readonly #read: (count: number | null) => Promise<readonly Row[]>
  isClosed = false

  constructor(steps: Steps, read: (count: number | null) => Promise<readonly Row[]>) {
    this.#steps = steps
    this.#read = read
  }

  get isAtEnd(): boolean {
    return this.#steps.isAtEnd
  }

  read(count: number | null): Promise<readonly Row[]> {
    return this.#read(count)
  }

  async close(): Promise<void> {
    if (this.isClosed) return
    this.isClosed = true
    await this.#steps.close()
  }
}
