/** The driver `@appthreat/sqlite3`: it names columns, fetches many rows per call, and reads 64-bit integers exactly. */
import { setImmediate } from 'node:timers/promises'
import type sqlite3 from 'sqlite3'
import type { Statement } from '../driver/statement'
import { CallbackConnection, openRaw, type RowsCallback } from './callback-connection'
import type { Column, SqliteDriver } from './driver'

const { default: appthreat } = require('@appthreat/sqlite3') as { default: typeof sqlite3 }

export const driver: SqliteDriver = {
  name: '@appthreat/sqlite3',
  async open(file, flags) {
    const raw = await openRaw(appthreat, file, flags)
    // Reads integers beyond 2^53 as BigInts, and all others as numbers.
    raw.configure('integerMode' as 'busyTimeout', 'mixed' as unknown as number)
    return new AppthreatConnection(raw)
  },
}

const AS_ARRAYS = { rowMode: 'array' } as const

/** The members that the sqlite3 package does not have. */
interface AppthreatStatement extends sqlite3.Statement {
  /** The columns at the time when the statement was prepared. */
  readonly columns: readonly { readonly name: string; readonly declaredType?: string }[]
  fetch(count: number, ...bindingsAndCallback: unknown[]): void
  getSync(bindings: readonly unknown[], options: typeof AS_ARRAYS): unknown[] | undefined
  allSync(bindings: readonly unknown[], options: typeof AS_ARRAYS): unknown[][]
}

class AppthreatConnection extends CallbackConnection {
  readonly roundsIntegers = false
  protected readonly maxBatch = 1024

  columns(statement: Statement): Promise<readonly Column[]> {
    return this.withPrepared(statement, (prepared, _bindings, done) => {
      const { columns } = prepared as AppthreatStatement
      done(
        null,
        columns.map(({ name, declaredType: declared = '' }) => ({ names: [name], declared })),
      )
    })
  }

  /** Uses synchronous calls, since asynchronous ones give objects only. They are not allowed within the driver's callbacks. */
  readonly arrays = async ({ sql, bindings, take }: Statement): Promise<unknown[][]> => {
    const prepared = (await this.prepare(sql)) as AppthreatStatement
    await setImmediate()
    try {
      const first = take === 'first' ? prepared.getSync(bindings, AS_ARRAYS) : null
      const rows = first === null ? prepared.allSync(bindings, AS_ARRAYS) : [first ?? []]
      return rows.filter((row) => row.length > 0)
    } finally {
      prepared.finalize()
    }
  }

  protected nextRows(
    prepared: sqlite3.Statement,
    count: number,
    bindings: readonly unknown[] | undefined,
    done: RowsCallback,
  ): void {
    if (bindings === undefined) (prepared as AppthreatStatement).fetch(count, done)
    else (prepared as AppthreatStatement).fetch(count, bindings, done)
  }
}
