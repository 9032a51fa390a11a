/** A cursor over rows that are in memory already, for statements for which a database has no cursors. */
import type { Cursor, Row } from './statement'

export class BufferedCursor implements Cursor {
  readonly #rows: Row[]

  constructor(rows: readonly unknown[]) {
    this.#rows = [...rows] as Row[]
  }

  get isAtEnd(): boolean {
    return this.#rows.length === 0
  }

  read(count: number | null): Promise<readonly Row[]> {
    return Promise.resolve(this.#rows.splice(0, count ?? this.#rows.length))
  }

  async close(): Promise<void> {}
}
