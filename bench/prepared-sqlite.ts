/** The driver sqlite3 by itself, with statements that are prepared once: below this nothing gets that is built on it. */
import sqlite3 from 'sqlite3'

/** Runs one prepared statement, and resolves with its rows. */
export type Run = <R = unknown>(...values: readonly (string | number)[]) => Promise<R[]>

export interface PreparedFile {
  prepare(text: string): Promise<Run>
  /** Transactions wait for one another, since there is one connection. They write, so they begin with the lock. */
  transaction<T>(work: () => Promise<T>): Promise<T>
  close(): Promise<void>
}

/** Opens a file that is in WAL mode already. */
export async function openPreparedFile(filename: string): Promise<PreparedFile> {
  const db = await new Promise<sqlite3.Database>((resolve, reject) => {
    const opened = new sqlite3.Database(filename, (error) => (error ? reject(error) : resolve(opened)))
  })
  const statements: sqlite3.Statement[] = []

  async function prepare(text: string): Promise<Run> {
    const statement = await new Promise<sqlite3.Statement>((resolve, reject) => {
      const prepared = db.prepare(text, (error: Error | null) => (error ? reject(error) : resolve(prepared)))
    })
    statements.push(statement)
    return <R>(...values: readonly (string | number)[]) =>
      new Promise<R[]>((resolve, reject) => {
        statement.all<R>(values, (error, rows) => (error ? reject(error) : resolve(rows)))
      })
  }

  await (
    await prepare('PRAGMA synchronous = NORMAL')
  )()
  await (
    await prepare('PRAGMA foreign_keys = ON')
  )()
  const [begin, commit, rollback] = await Promise.all(['BEGIN IMMEDIATE', 'COMMIT', 'ROLLBACK'].map(prepare))
  if (begin === undefined || commit === undefined || rollback === undefined) throw new Error('not prepared')
  let last: Promise<unknown> = Promise.resolve()

  return {
    prepare,

    transaction(work) {
      const result = last.then(async () => {
        await begin()
        try {
          const value = await work()
          await commit()
          return value
        } catch (error) {
          await rollback()
          throw error
        }
      })
      last = result.catch(() => undefined)
      return result
    },

    close: async () => {
      await Promise.all(
        statements.map((statement) => new Promise<void>((resolve) => statement.finalize(() => resolve()))),
      )
      await new Promise<void>((resolve, reject) => db.close((error) => (error ? reject(error) : resolve())))
    },
  }
}
