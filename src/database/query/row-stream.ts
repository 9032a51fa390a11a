/** The rows of a query, one by one: what iterate() returns. */
import type { Cursor, Row, Statement } from '../driver/statement'
import type { StreamSource } from '../pool/lease'
import { attachCleanup, TransactionClosedError } from '../errors'
import type { Limits } from '../context/limits'

type Next = IteratorResult<Row, undefined>

/** An async generator would do the same, and take three times as long for a row that is there already. */
export class RowStream implements AsyncIterableIterator<Row> {
  readonly #pieces: AsyncGenerator<readonly Row[]>
  readonly #limits: Limits
  readonly #process: Statement['process']
  #rows: readonly Row[] = []
  #at = 0
  /** How many calls are under way, and the last of them. */
  #calls = 0
  #last: Promise<unknown> = Promise.resolve()

  constructor(reading: StreamSource, statement: Statement, limits: Limits, batchSize: number | null) {
    this.#pieces = piecesOf(reading, statement, limits, batchSize)
    this.#limits = limits
    this.#process = statement.process
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<Next> {
    const isThere = this.#calls === 0 && this.#at < this.#rows.length
    return isThere ? this.#give() : this.#inTurn(() => this.#advance())
  }

  return(): Promise<Next> {
    return this.#inTurn(() => {
      this.#rows = NONE
      return this.#end(this.#pieces.return(undefined))
    })
  }

  throw(error: unknown): Promise<Next> {
    return this.#inTurn(() => this.#fail(error))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  async #advance(): Promise<Next> {
    while (this.#at >= this.#rows.length) {
      const { done, value } = await this.#pieces.next()
      if (done === true) return END
      this.#rows = value
      this.#at = 0
    }
    return this.#give()
  }

  #give(): Promise<Next> {
    let value = this.#rows[this.#at] as Row
    try {
      this.#limits.check()
      if (this.#process !== undefined) value = this.#process(value) as Row
    } catch (error) {
      return this.#fail(error)
    }
    this.#at += 1
    // What has been worked on need not be kept until the next piece is there.
    if (this.#at === this.#rows.length) this.#rows = NONE
    return Promise.resolve({ done: false, value })
  }

  #fail(error: unknown): Promise<Next> {
    this.#rows = NONE
    return this.#end(this.#pieces.throw(error))
  }

  async #end(ending: Promise<unknown>): Promise<Next> {
    await ending
    return END
  }

  /** Behind the calls that are under way, as a generator does it; at once when there are none. */
  #inTurn(call: () => Promise<Next>): Promise<Next> {
    const result = this.#after(this.#calls === 0 ? null : this.#last, call)
    this.#last = result.catch(noop)
    return result
  }

  async #after(earlier: Promise<unknown> | null, call: () => Promise<Next>): Promise<Next> {
    this.#calls += 1
    try {
      if (earlier !== null) await earlier
      return await call()
    } finally {
      this.#calls -= 1
    }
  }
}

const NONE: readonly Row[] = []

const END: Next = { done: true, value: undefined }

const noop = (): void => undefined

async function* piecesOf(
  reading: StreamSource,
  statement: Statement,
  limits: Limits,
  batchSize: number | null,
): AsyncGenerator<readonly Row[]> {
  let cursor: Cursor | undefined
  let hasFailed = false
  let ahead: Promise<readonly Row[]> | undefined
  let ending: Promise<void> | undefined
  const finish = (): Promise<void> => (ending ??= end(reading, statement, cursor))
  try {
    const opened = await reading.use((lease, bounded) =>
      lease.openCursor(statement, reading.isExclusive, bounded),
    )
    cursor = opened
    const read = (): Promise<readonly Row[]> =>
      reading.use((lease, bounded) => lease.read(opened, batchSize, statement, bounded))
    let rows = await read()
    for (let count = 1; ; count += 1) {
      const isLast = opened.isAtEnd
      // The server makes the next piece while this one is worked on. Who leaves early has none made in vain.
      if (reading.isExclusive && count > 1 && !isLast) {
        ahead = read()
        ahead.catch(noop)
      }
      // Whoever reads may never come back for the next row.
      const stopWatching = limits.watch(() => void finish().catch(noop))
      try {
        yield rows
        limits.check()
      } finally {
        stopWatching()
      }
      if (isLast) return
      rows = NONE
      rows = await (ahead ?? read())
      ahead = undefined
    }
  } catch (error) {
    hasFailed = true
    await finish().catch((cleanup: unknown) => {
      attachCleanup(error, cleanup)
    })
    throw error
  } finally {
    if (!hasFailed) await finish()
  }
}

async function end(reading: StreamSource, statement: Statement, cursor: Cursor | undefined): Promise<void> {
  try {
    if (cursor !== undefined) await reading.close((lease, limits) => lease.close(cursor, statement, limits))
  } catch (error) {
    // A transaction that has ended has closed its cursors.
    if (!(error instanceof TransactionClosedError)) throw error
  } finally {
    await reading.release()
  }
}
