/** Cursors of SQLite, and the reading ahead where none can stay open. */
import type { Cursor, Row, Statement } from '../driver/statement'
import { QueryError } from '../errors'
import type { SqliteConnection } from './driver'
import { sizeOf } from './rows'

/** The most that is read ahead. A database in memory has no such limit: it holds all rows already. */
const MAX_ROWS = 100_000
const MAX_BYTES = 2 ** 26

/** A cursor whose reads its session watches. */
export class SqliteCursor implements Cursor {
  readonly #rows: Cursor
  readonly read: Cursor['read']
  isClosed = false

  constructor(rows: Cursor, read: Cursor['read']) {
    this.#rows = rows
    this.read = read
  }

  get isAtEnd(): boolean {
    return this.#rows.isAtEnd
  }

  async close(): Promise<void> {
    if (this.isClosed) return
    this.isClosed = true
    await this.#rows.close()
  }
}

/**
 * Reads a whole result ahead on a connection that also runs other statements. An open statement would see what they write,
 * would be stopped by a cancel that is meant for one of them, and would end with a savepoint that is rolled back.
 *
 * @throws QueryError when the result is too large to be held in memory
 */
export async function readAhead(connection: SqliteConnection, statement: Statement): Promise<Row[]> {
  const cursor = await connection.openCursor(statement, true)
  const rows: Row[] = []
  let bytes = 0
  try {
    do {
      const batch = await cursor.read(null)
      bytes += sizeOf(batch)
      for (const row of batch) rows.push(row)
      if (rows.length > MAX_ROWS || bytes > MAX_BYTES) {
        throw new QueryError(
          `iterate() in a transaction, or on a connection that is held, reads its rows into memory: ${MAX_ROWS} of them or ` +
            `${MAX_BYTES / 2 ** 20} MB at most, and there are more. Iterate outside of it, or read by pages: ` +
            'WHERE id > :last ORDER BY id LIMIT :size.',
          statement.sql,
        )
      }
    } while (!cursor.isAtEnd)
    return rows
  } finally {
    await cursor.close()
  }
}
