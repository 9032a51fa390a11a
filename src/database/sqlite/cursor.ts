/** Cursors of SQLite: over rows that were read ahead, and over an open statement. */
import { BufferedCursor, type Cursor, type Row, type Statement } from '../driver/statement'
import { QueryError, TransactionClosedError } from '../errors'
import type { SqliteConnection, Steps } from './driver'
import { sizeOf } from './rows'

const BATCH_SIZE = 256
/** The most that is read ahead. A database in memory has no such limit: it holds all rows already. */
const MAX_ROWS = 100_000
const MAX_BYTES = 2 ** 26

/**
 * Reads a whole result ahead on a connection that also runs other statements. An open statement would see what they write,
 * would be stopped by a cancel that is meant for one of them, and would end with a savepoint that is rolled back.
 *
 * @throws QueryError when the result is too large to be held in memory
 */
export async function readAhead(connection: SqliteConnection, statement: Statement): Promise<Row[]> {
  const steps = await connection.step(statement, true)
  const rows: Row[] = []
  let bytes = 0
  try {
    do {
      const batch = await steps.read(null)
      bytes += sizeOf(batch)
      for (const row of batch) rows.push(row)
      if (rows.length > MAX_ROWS || bytes > MAX_BYTES) throw tooLarge(statement)
    } while (!steps.isAtEnd)
    return rows
  } finally {
    await steps.close()
  }
}

function tooLarge({ sql }: Statement): QueryError {
  return new QueryError(
    `iterate() in a transaction, or on a connection that is held, reads its rows into memory: ${MAX_ROWS} of them or ` +
      `${MAX_BYTES / 2 ** 20} MB at most, and there are more. Iterate outside of it, or read by pages: ` +
      'WHERE id > :last ORDER BY id LIMIT :size.',
    sql,
  )
}

/** A cursor over rows in memory, which can be read until their transaction ends. */
export class ReadAheadCursor extends BufferedCursor {
  readonly #isOver: () => boolean

  constructor(rows: readonly unknown[], isOver: () => boolean) {
    super(rows)
    this.#isOver = isOver
  }

  override async read(count: number | null): Promise<readonly Row[]> {
    if (!this.#isOver()) return super.read(count ?? BATCH_SIZE)
    throw new TransactionClosedError(
      'The rows that are left cannot be read: the transaction that they were read in has ended. Read them before.',
    )
  }
}

/** A cursor over an open statement, on a connection that runs nothing else meanwhile. */
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
