/**
 * The compiler's cache changes nothing about the statements that are compiled from texts and builders.
 *
 * MILLPOND_SEED=n runs the queries of a seed that failed.
 */
import fc from 'fast-check'
import type { Knex } from 'knex'
import { Database } from '../../../src/database'
import { postgres } from '../../../src/database/postgres/dialect'
import { sqlite } from '../../../src/database/sqlite/dialect'
import { KnexProgram } from '../../../src/database/sql/builder-compiler'
import { Compiler } from '../../../src/database/sql/compiler'
import type { Query, Values } from '../../../src/database/sql/sql-tag'
import { DatabaseURL } from '../../../src/database/url'
import { standingCheck } from '../../support/standing-check'

standingCheck()

const SEED = process.env['MILLPOND_SEED']
const RUNS = 1000

const DIALECTS = {
  SQLite: { url: 'sqlite://', dialect: sqlite },
  PostgreSQL: { url: 'postgresql://nobody@127.0.0.1/nothing', dialect: postgres },
} as const

const column = fc.constantFrom('id', 'name', 'a ? b', 'über')
const value = fc.oneof(
  fc.integer(),
  fc.string(),
  fc.boolean(),
  fc.constant(null),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
)

/** One step of building a query. */
type Step = (builder: Knex.QueryBuilder) => Knex.QueryBuilder

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(column, fc.constantFrom('=', '<', '<>'), value).map(
    ([name, operator, operand]): Step =>
      (builder) =>
        operand === null ? builder.whereNull(name) : builder.where(name, operator, operand as never),
  ),
  fc.tuple(column, fc.array(fc.integer(), { maxLength: 4 })).map(
    ([name, list]): Step =>
      (builder) =>
        builder.whereIn(name, list),
  ),
  fc
    .tuple(fc.constantFrom("name = 'what\\?'", 'id = ? or id = ?', "data \\\\? ? and ':no'"), fc.integer())
    .map(
      ([text, n]): Step =>
        (builder) =>
          builder.whereRaw(
            text,
            Array.from({ length: (text.match(/(?<!\\)\?/g) ?? []).length }, () => n),
          ),
    ),
  column.map(
    (name): Step =>
      (builder) =>
        builder.orderBy(name),
  ),
  fc.nat(50).map(
    (limit): Step =>
      (builder) =>
        builder.limit(limit),
  ),
)

const builderOf = (knex: Knex): fc.Arbitrary<() => Query> =>
  fc
    .tuple(fc.constantFrom('select', 'insert', 'update', 'delete'), fc.array(step, { maxLength: 5 }), value)
    .map(([kind, steps, changed]) => () => {
      const table = knex('t') as Knex.QueryBuilder
      if (kind === 'insert') return table.insert({ id: 1, name: changed })
      const built = steps.reduce((builder, next) => next(builder), table)
      if (kind === 'select') return built.select('id', knex.raw('? as given', [changed as never]))
      return kind === 'update' ? built.update({ name: changed }) : built.delete()
    })

/** SQL with names, and values for them. */
const textWithValues: fc.Arbitrary<readonly [string, Values]> = fc
  .array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.boolean()), { maxLength: 5 })
  .chain((parts) => {
    const text = parts.map(([name, isList]) => (isList ? `x in (:${name})` : `x = :${name}`)).join(' or ')
    const names = [...new Set(parts.map(([name]) => name))]
    const values = fc.record(
      Object.fromEntries(
        names.map((name) => [name, fc.oneof(value, fc.array(fc.integer(), { maxLength: 3 }))]),
      ),
    )
    return values.map((given) => [`select 1 where ${text === '' ? '1 = 1' : text}`, given] as const)
  })

/** The statement that a compiler makes of a query, or the error that it throws. */
function made(compiler: Compiler, query: Query, values?: Values): unknown {
  try {
    const statement = compiler.compile(query, values, { take: 'all' })
    if (statement instanceof KnexProgram) return 'a program'
    const { sql, bindings, facts, take } = statement
    return { sql, bindings, facts, take }
  } catch (error) {
    return String(error)
  }
}

describe.each(Object.entries(DIALECTS))('the compiler’s cache on %s', (title, { url, dialect }) => {
  const database = new Database(url)
  const fresh = (): Compiler => new Compiler(dialect(new DatabaseURL(url)))
  const options = { numRuns: RUNS, ...(SEED !== undefined && { seed: Number(SEED) }) }

  it('gives the same statement for a builder as a new compiler', () => {
    const warm = fresh()
    fc.assert(
      fc.property(builderOf(database.knex), (build) => {
        const expected = made(fresh(), build())
        expect(made(warm, build())).toEqual(expected)
        expect(made(warm, build())).toEqual(expected)
        if (typeof expected === 'string') return
        const { sql, bindings } = (build() as Knex.QueryBuilder).toSQL().toNative()
        // SQLite takes some values, such as a bigint, in another form.
        expect(expected).toMatchObject(title === 'PostgreSQL' ? { sql, bindings } : { sql })
      }),
      options,
    )
  })

  it('gives the same statement for a text as a new compiler', () => {
    const warm = fresh()
    fc.assert(
      fc.property(textWithValues, ([text, values]) => {
        const expected = made(fresh(), text, values)
        expect(made(warm, text, values)).toEqual(expected)
        expect(made(warm, text, values)).toEqual(expected)
      }),
      options,
    )
  })
})
