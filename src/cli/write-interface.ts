/** Writes the tables of a database as a TypeScript interface. */
import type { Column, Table } from './schema'

/** Prettier is told to leave each declaration alone, because the lines are the same whatever its settings are. */
const HEAD = `/** The tables of the database, as \`millpond types\` has read them. Not to be edited: run it again after a migration. */

// prettier-ignore
import type { Knex } from 'knex'

// prettier-ignore
export interface Tables {
`

const FOOT = `}

/** A row of a table, as a query returns it. */
// prettier-ignore
export type Row<Name extends keyof Tables> = Knex.ResolveTableType<Tables[Name]>

/** A row of a table, as it may be inserted. */
// prettier-ignore
export type NewRow<Name extends keyof Tables> = Knex.ResolveTableType<Tables[Name], 'insert'>
`

/** Tables and columns are sorted by their names, because their order differs between databases that are otherwise equal. */
export function writeInterface(tables: readonly Table[]): string {
  return HEAD + byName(tables).map(tableMember).join('') + FOOT
}

function tableMember({ name, columns, isWritable }: Table): string {
  const sorted = byName(columns)
  const rows = sorted.map((column) => `      ${propertyName(column.name)}: ${union(column.reads, column)}\n`)
  const inserted = sorted
    .filter((column) => !column.isGenerated)
    .map(
      (column) =>
        `      ${propertyName(column.name)}${column.isOptional ? '?' : ''}: ${union(column.writes, column)}\n`,
    )
  return `  ${propertyName(name)}: Knex.CompositeTableType<
    ${object(rows)},
    ${isWritable ? object(inserted) : 'never'}
  >
`
}

function object(members: readonly string[]): string {
  return members.length === 0 ? 'Record<never, never>' : `{\n${members.join('')}    }`
}

function union(types: readonly string[], { isNullable }: Column): string {
  if (types.includes('unknown')) return 'unknown'
  const sorted = types.toSorted()
  return (isNullable ? [...sorted, 'null'] : sorted).join(' | ')
}

function byName<T extends { readonly name: string }>(items: readonly T[]): T[] {
  return items.toSorted((one, other) => (one.name < other.name ? -1 : 1))
}

function propertyName(name: string): string {
  return /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(name) ? name : literal(name)
}

/** Returns a text as a literal in single quotes. */
export function literal(text: string): string {
  return `'${JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'")}'`
}
