/** Results of SQLite that are read in pieces. */
import { BufferedCursor } from '../driver/buffered-cursor'
import type { Cursor, Row, Statement } from '../driver/statement'
import { QueryError, TransactionClosedError } from '../errors'
import type { SqliteConnection, Steps } from './driver'
import { sizeOf } from './rows'

const USUAL_PIECE = 256
/** How much is read ahead; of a database in memory all, since it has no other connection, and holds all rows already. */
const MOST_ROWS = 100_000
const MOST_BYTES = 2 ** 26

/**
 * Reads a whole result where others use the connection too: a statement that is open there would see what they write, be ended
 * by a cancel that is meant for theirs, and end with a savepoint that is rolled back.
 *
 * @throws QueryError when it is larger than may be held in memory
 */
export async function readAhead(connection: SqliteConnection, statement: Statement): Promise<Row[]> {
  const steps = await connection.step(statement, true)
  const rows: Row[] = []
  let bytes = 0
  try {
    do {
      const piece = await steps.read(null)
      bytes += sizeOf(piece)
      for (const row of piece) rows.push(row)
      if (rows.length > MOST_ROWS || bytes > MOST_BYTES) throw tooLarge(statement)
    } while (!steps.isAtEnd)
    return rows
  } finally {
    await steps.close()
  }
}

function tooLarge({ sql }: Statement): QueryError {
  return new QueryError(
    `iterate() in a transaction, or on a connection that is held, reads its rows into memory: ${MOST_ROWS} of them or ` +
      `${MOST_BYTES / 2 ** 20} MB at most, and there are more. Iterate outside of it, or read by pages: ` +
      'WHERE id > :last ORDER BY id LIMIT :size.',
    sql,
  )
}

/** Reads from rows in memory, as long as the transaction lasts that they are of. */
export class AheadCursor extends BufferedCursor {
  readonly #isOver: () => boolean

  constructor(rows: readonly unknown[], isOver: () => boolean) {
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
  readonly read: (count: number | null) => Promise<readonly Row[]>
  isClosed = false

  constructor(steps: Steps, read: (count: number | null) => Promise<readonly Row[]>) {
    this.#steps = steps
    this.read = read
  }

  get isAtEnd(): boolean {
    return this.#steps.isAtEnd
  }

  async close(): Promise<void> {
    if (this.isClosed) return
    this.isClosed = true
    await this.#steps.close()
  }
}
