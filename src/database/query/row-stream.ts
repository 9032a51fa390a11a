/** The rows of a query, one by one: what iterate() returns. */
import type { Cursor, Row, Statement } from '../driver/statement'
import type { StreamSource } from '../pool/lease'
import { attachCleanup, TransactionClosedError } from '../errors'
import type { Limits } from '../context/limits'
import type { StandardSchema } from '../sql/standard-schema'
import { checkRow } from './row-schema'

type Next = IteratorResult<unknown, undefined>

/** Behaves like an async generator, but returns a row that is already in memory in a third of a generator's time. */
export class RowStream implements AsyncIterableIterator<unknown> {
  readonly #batches: AsyncGenerator<readonly Row[]>
  readonly #limits: Limits
  readonly #process: Statement['process']
  readonly #sql: string
  readonly #schema: StandardSchema | undefined
  /** The number of rows that were checked. */
  #checkedRows = 0
  #rows: readonly Row[] = []
  #position = 0
  /** The number of calls that have not settled, and the last of them. */
  #pendingCalls = 0
  #lastCall: Promise<unknown> = Promise.resolve()

  constructor(
    source: StreamSource,
    statement: Statement,
    limits: Limits,
    batchSize: number | null,
    schema?: StandardSchema,
  ) {
    this.#batches = readBatches(source, statement, limits, batchSize)
    this.#limits = limits
    this.#process = statement.process
    this.#sql = statement.sql
    this.#schema = schema
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<Next> {
    const isBuffered = this.#pendingCalls === 0 && this.#position < this.#rows.length
    return isBuffered && this.#schema === undefined ? this.#takeRow() : this.#enqueue(() => this.#advance())
  }

  return(): Promise<Next> {
    return this.#enqueue(() => {
      this.#rows = NO_ROWS
      return this.#finish(this.#batches.return(undefined))
    })
  }

  throw(error: unknown): Promise<Next> {
    return this.#enqueue(() => this.#fail(error))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  async #advance(): Promise<Next> {
    while (this.#position >= this.#rows.length) {
      const { done, value } = await this.#batches.next()
      if (done === true) return DONE
      this.#rows = value
      this.#position = 0
    }
    return this.#takeRow()
  }

  #takeRow(): Promise<Next> {
    let value: unknown = this.#rows[this.#position]
    try {
      this.#limits.check()
      if (this.#process !== undefined) value = this.#process(value)
    } catch (error) {
      return this.#fail(error)
    }
    this.#position += 1
    // Lets the memory of these rows be freed before the next batch arrives.
    if (this.#position === this.#rows.length) this.#rows = NO_ROWS
    return this.#schema === undefined
      ? Promise.resolve({ done: false, value })
      : this.#checkRow(this.#schema, value)
  }

  async #checkRow(schema: StandardSchema, row: unknown): Promise<Next> {
    this.#checkedRows += 1
    try {
      return { done: false, value: await checkRow(schema, row, this.#checkedRows, this.#sql) }
    } catch (error) {
      return this.#fail(error)
    }
  }

  #fail(error: unknown): Promise<Next> {
    this.#rows = NO_ROWS
    return this.#finish(this.#batches.throw(error))
  }

  async #finish(ending: Promise<unknown>): Promise<Next> {
    await ending
    return DONE
  }

  /** Runs the call after the pending ones, as a generator does; synchronously if there are none. */
  #enqueue(call: () => Promise<Next>): Promise<Next> {
    const result = this.#runAfter(this.#pendingCalls === 0 ? null : this.#lastCall, call)
    this.#lastCall = result.catch(noop)
    return result
  }

  async #runAfter(earlier: Promise<unknown> | null, call: () => Promise<Next>): Promise<Next> {
    this.#pendingCalls += 1
    try {
      if (earlier !== null) await earlier
      return await call()
    } finally {
      this.#pendingCalls -= 1
    }
  }
}

const NO_ROWS: readonly Row[] = []

const DONE: Next = { done: true, value: undefined }

const noop = (): void => undefined

/** Reads the rows in batches and closes the cursor at the end, at an error and when the caller leaves early. */
async function* readBatches(
  source: StreamSource,
  statement: Statement,
  limits: Limits,
  batchSize: number | null,
): AsyncGenerator<readonly Row[]> {
  let cursor: Cursor | undefined
  let hasFailed = false
  let prefetched: Promise<readonly Row[]> | undefined
  let ending: Promise<void> | undefined
  const finish = (reason?: unknown): Promise<void> =>
    (ending ??= closeSource(source, statement, cursor, reason))
  try {
    const opened = await source.use((lease, bounded) =>
      lease.openCursor(statement, source.isExclusive, bounded),
    )
    cursor = opened
    const read = (): Promise<readonly Row[]> =>
      source.use((lease, bounded) => lease.read(opened, batchSize, statement, bounded))
    let rows = await read()
    for (let count = 1; ; count += 1) {
      const isLast = opened.isAtEnd
      // Reads the next batch while the caller works on this one. Not after the first: the caller may leave early.
      if (source.isExclusive && count > 1 && !isLast) {
        prefetched = read()
        prefetched.catch(noop)
      }
      // The caller may never ask for the next row, so the limits end the stream by themselves.
      const stopWatching = limits.watch((expiry) => void finish(limits.error(expiry)).catch(noop))
      try {
        yield rows
        limits.check()
      } finally {
        stopWatching()
      }
      if (isLast) return
      rows = NO_ROWS
      rows = await (prefetched ?? read())
      prefetched = undefined
    }
  } catch (error) {
    hasFailed = true
    await finish(error).catch((cleanup: unknown) => {
      attachCleanup(error, cleanup)
    })
    throw error
  } finally {
    if (!hasFailed) await finish()
  }
}

async function closeSource(
  source: StreamSource,
  statement: Statement,
  cursor: Cursor | undefined,
  reason: unknown,
): Promise<void> {
  try {
    if (cursor !== undefined) await source.close((lease, limits) => lease.close(cursor, statement, limits))
  } catch (error) {
    // The cursors of an ended transaction are closed already.
    if (!(error instanceof TransactionClosedError)) throw error
  } finally {
    cursor?.streamEnded?.(reason)
    await source.release()
  }
}
