/** Rows of a query by the block, from a driver that gives a single row for each journey to its thread. */
import { SQLITE_LEXICON } from './sqlite-lexicon'
import { trimmed } from './sql-pieces'
import type { Row } from './dialect'
import { exactly, isLarge } from './sqlite-types'

/** Rows in a short block, and short blocks in a long one, at most. */
const MOST = 16
/** Bytes of all texts of a row that takes part: more take longer to be copied than a journey. */
const LONGEST_ROW = 700

/** Rows in a short block, and short blocks in a long one. */
export interface Sizes {
  readonly short: number
  readonly long: number
}

/** The largest of which pieces of so many rows can be made, so that of rows that all take part none is read ahead of a piece. */
export function sizesFor(piece: number): Sizes {
  const short = divisorOf(piece)
  return { short, long: divisorOf(piece / short) }
}

function divisorOf(count: number): number {
  let size = Math.min(MOST, count)
  while (count % size !== 0) size -= 1
  return size
}

/**
 * The same query, but few of its rows come by themselves: the first of each block has the whole of it, as JSON. A row that is
 * large, or that JSON cannot hold exactly, is `null` in its block, and comes when it is its turn. The digits that SQLite
 * writes of a number with a fraction may be those of its neighbour.
 *
 * SQLite computes it as it goes along. A block is a window over its rows; they are in the order of the query, since neither
 * the windows nor the queries around it have another one, and each of their values is computed once, since SQLite does not
 * merge a query into one that has a window: https://www.sqlite.org/optoverview.html#flattening. For each row it copies what
 * is in the window, so that one long window would take longer than a short one with another over what comes out of it.
 */
export function inBlocks(sql: string, width: number, { short, long }: Sizes): string {
  const columns = Array.from({ length: width }, (_, index) => `c${index}`)
  const names = columns.join(', ')
  const alone = columns.map((c) => `CASE WHEN NOT fits THEN ${exactly(c)} END AS ${c}`).join(', ')
  const following = (size: number): string => `(ROWS BETWEEN CURRENT ROW AND ${size - 1} FOLLOWING)`
  const isFirst = (size: number): string => `(n - 1) % ${size} = 0`
  return `WITH "millpond rows"(${names}) AS (${trimmed(sql, SQLITE_LEXICON, false)}
),
"millpond numbered" AS (SELECT row_number() OVER () AS n, ${names} FROM "millpond rows"),
"millpond fitting" AS (SELECT *, ${columns.map(weight).join(' + ')} <= ${LONGEST_ROW} AS fits FROM "millpond numbered"),
"millpond written" AS (
  SELECT n, fits, ${alone},
    CASE WHEN fits THEN json_array(${columns.map(written).join(', ')}) ELSE 'null' END AS row
  FROM "millpond fitting"
),
"millpond short" AS (SELECT *, group_concat(row) OVER ${following(short)} AS block FROM "millpond written"),
"millpond firsts" AS (
  SELECT row_number() OVER () AS n, fits, ${names}, CASE WHEN ${isFirst(short)} THEN block END AS block
  FROM "millpond short" WHERE ${isFirst(short)} OR NOT fits
),
"millpond long" AS (SELECT *, group_concat(block) OVER ${following(long)} AS blocks FROM "millpond firsts")
SELECT CASE WHEN ${isFirst(long)} THEN coalesce(blocks, '') END AS block, fits, ${names}
FROM "millpond long" WHERE ${isFirst(long)} OR NOT fits`
}

/** The bytes of a value, or more than a row may have where it cannot take part. */
function weight(column: string): string {
  return `CASE typeof(${column})
    WHEN 'integer' THEN ${isLarge(column)} * ${LONGEST_ROW + 1}
    WHEN 'text' THEN octet_length(${column})
    WHEN 'null' THEN 0
    ELSE ${LONGEST_ROW + 1} END`
}

/** A text that another function of SQLite has made as JSON would not be written as a text. */
function written(column: string): string {
  return `CASE typeof(${column})
    WHEN 'text' THEN ${column} || ''
    ELSE ${column} END`
}

const OWN = { enumerable: true, configurable: true, writable: true }

/** Makes rows again of the blocks, and of those that come by themselves. */
export class Blocks {
  readonly #names: readonly string[]
  /** The values of each row, or null for one that comes by itself. */
  #block: (readonly unknown[] | null)[] = []
  #at = 0

  constructor(names: readonly string[]) {
    this.#names = names
  }

  /** Adds all rows that are there now that `step` is: up to the next that comes by itself, or to the end of the block. */
  add(step: Row, rows: Row[]): void {
    const { block, fits } = step
    if (typeof block === 'string') {
      // Behind the row that the step is there may be some of the last block.
      const next = JSON.parse(`[${block}]`) as (unknown[] | null)[]
      this.#block = this.#block.slice(this.#at).concat(next)
      this.#at = 0
    }
    if (fits === 0) {
      this.#at += 1
      rows.push(this.#row(this.#names.map((_, index) => step[`c${index}`])))
    }
    for (; this.#at < this.#block.length; this.#at += 1) {
      const values = this.#block[this.#at]
      if (!values) return
      rows.push(this.#row(values))
    }
  }

  #row(values: readonly unknown[]): Row {
    const row: Row = {}
    for (let index = 0; index < values.length; index += 1) {
      const name = this.#names[index] as string
      // To set that one would be to set what the row inherits from.
      if (name === '__proto__') Object.defineProperty(row, name, { value: values[index], ...OWN })
      else row[name] = values[index]
    }
    return row
  }
}
