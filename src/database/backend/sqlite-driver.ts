/** sqlite3's callbacks as promises, and its results as ours. */
import type sqlite3 from 'sqlite3'
import type { Result, Row, Statement } from './dialect'

export type RawConnection = sqlite3.Database

/** A prepared statement whose rows are taken one by one. */
export interface OpenCursor {
  readonly prepared: sqlite3.Statement
  isAtEnd: boolean
}

const CHANGES = new Set(['INSERT', 'REPLACE', 'UPDATE', 'DELETE'])

export function send(raw: RawConnection, statement: Statement): Promise<Result> {
  const { facts, take } = statement
  return take === 'count' && !facts.hasReturning ? sendForCount(raw, statement) : sendForRows(raw, statement)
}

function sendForCount(raw: RawConnection, { sql, bindings, facts }: Statement): Promise<Result> {
  return new Promise((resolve, reject) => {
    raw.run(sql, [...bindings], function (this: sqlite3.RunResult, error: Error | null) {
      if (error) {
        reject(error)
        return
      }
      // The driver's figures are those of the last INSERT or UPDATE, however long ago it was.
      const rowCount = CHANGES.has(facts.verb) ? this.changes : 0
      const isInsert = facts.verb === 'INSERT' || facts.verb === 'REPLACE'
      const lastInsertId = isInsert && rowCount > 0 ? this.lastID : null
      resolve({
        rows: [],
        rowCount,
        lastInsertId,
        command: facts.verb,
        forKnex: { response: [], context: this },
      })
    })
  })
}

function sendForRows(
  raw: RawConnection,
  { sql, bindings, facts, take, asArrays }: Statement,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const done = (error: Error | null, found?: Row[] | Row): void => {
      if (error) {
        reject(error)
        return
      }
      const objects = found === undefined ? [] : Array.isArray(found) ? found : [found]
      const rows = asArrays === true ? objects.map((row) => Object.values(row)) : objects
      const rowCount = CHANGES.has(facts.verb) ? rows.length : 0
      resolve({
        rows,
        rowCount,
        lastInsertId: null,
        command: facts.verb,
        forKnex: { response: rows, context: {} },
      })
    }
    if (take === 'first' && facts.isRead) raw.get<Row>(sql, [...bindings], done)
    else raw.all<Row>(sql, [...bindings], done)
  })
}

export function exec(raw: RawConnection, sql: string): Promise<void> {
  return new Promise((resolve, reject) => {
    raw.exec(sql, (error) => {
      if (error) reject(error)
      else resolve()
    })
  })
}

export function openCursor(raw: RawConnection, statement: Statement): Promise<OpenCursor> {
  return new Promise((resolve, reject) => {
    const prepared = raw.prepare(statement.sql, [...statement.bindings], (error: Error | null) => {
      if (error) reject(error)
      else resolve({ prepared, isAtEnd: false })
    })
  })
}

/**
 * `get` takes one step, so that rows are made as they are asked for; `each` would push them all. Never one `get`
 * more than there are rows: after the last one the driver starts the statement again.
 */
export function readRows(cursor: OpenCursor, count: number): Promise<readonly Row[]> {
  const rows: Row[] = []
  return new Promise((resolve, reject) => {
    const next = (): void => {
      if (cursor.isAtEnd || rows.length === count) {
        resolve(rows)
        return
      }
      cursor.prepared.get<Row>((error, row) => {
        cursor.isAtEnd = row === undefined
        if (row !== undefined) rows.push(row)
        if (error) reject(error)
        else next()
      })
    }
    next()
  })
}
