/**
 * Random SELECTs give the same rows by every query method, in names, order, values and types, and the same on every
 * database, except where the table of types in docs/queries.md says otherwise.
 *
 * MILLPOND_SELECTS=n sets how many there are per database; MILLPOND_SEED=n runs those of a seed that failed.
 */
import fc from 'fast-check'
import { rounds } from '../../support/rounds'
import type { Database } from '../../../src/database'
import { eachDatabase } from '../../support/each-database'
import { differences, exact, type Outcome, outcomeOf } from '../../support/model/readings'
import { type Output, rows, schema, type Select, select } from '../../support/model/selects'

const SELECTS = rounds(50, 600, 'MILLPOND_SELECTS')
const SEED = Number(process.env['MILLPOND_SEED'] ?? Math.floor(Math.random() * 2 ** 31))

/** What the databases before have given for statements that mean the same on all. */
const given = new Map<string, { readonly on: string; readonly rows: string[] }>()

eachDatabase('a random SELECT', (context) => {
  const on = context.dialect === 'sqlite' ? context.driver : context.dialect
  let database: Database

  beforeAll(async () => {
    const making = await context.open()
    for (const statement of schema(context.dialect)) await making.execute(statement)
    for (const row of rows()) await making.execute(making.table('kinds').insert(row))
    await making.disconnect()
  })
  beforeEach(async () => {
    database = await context.open()
  })

  it(
    'gives the same rows by fetchAll and iterate, inside a transaction and outside, on each database',
    async () => {
      await fc.assert(
        fc.asyncProperty(select(context.dialect), async (made) => {
          const expected = await outcomeOf(() => database.fetchAll(made.sql, made.values))
          const problems = await differences(database, made, expected)
          problems.push(...compare(made, expected))
          expect([made.sql, ...problems]).toEqual([made.sql])
        }),
        { numRuns: SELECTS, seed: SEED, endOnFailure: process.env['MILLPOND_SELECTS'] !== undefined },
      )
    },
    60_000 + SELECTS * 200,
  )

  function compare({ sql, values, outputs }: Select, { rows: found, error }: Outcome): string[] {
    if (outputs === null || (on === 'sqlite3' && error?.startsWith('refused'))) return []
    if (error !== null) return [`${on} refuses it: ${error}`]
    const key = JSON.stringify([sql, values])
    const own = found.map((row) => JSON.stringify(comparable(row, outputs))).toSorted()
    const other = given.get(key)
    if (other === undefined) given.set(key, { on, rows: own })
    if (other === undefined || JSON.stringify(other.rows) === JSON.stringify(own)) return []
    const at = own.findIndex((row, index) => row !== other.rows[index])
    return [
      `on ${on}, ${own.length} rows: ${own[at]}`,
      `on ${other.on}, ${other.rows.length} rows: ${other.rows[at]}`,
    ]
  }
})

/** A row with what docs/queries.md says about types of the databases undone. */
function comparable(row: object, outputs: ReadonlyMap<string, Output>): unknown {
  return Object.entries(row).map(([name, value]) => [name, exact(sameOf(value, outputs.get(name)))])
}

function sameOf(value: unknown, output: Output | undefined): unknown {
  if (value === null) return null
  switch (output?.kind) {
    case 'bigint':
      return typeof value === 'number' ? String(value) : value
    case 'numeric':
      return Number(value).toPrecision(12)
    case 'real':
      // They add in another order.
      return output.isColumn ? value : Number(value).toPrecision(12)
    case 'boolean':
      return output.isColumn ? value : Boolean(value)
    case 'moment':
      return value instanceof Date ? value.toISOString().replace('T', ' ').replace('Z', '') : value
    default:
      return value
  }
}
