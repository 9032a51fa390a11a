/** The tables of a database as a program sees them: their columns, and the TypeScript types of their values. */

export interface Column {
  readonly name: string
  /** The types of what a query returns, NULL apart. */
  readonly reads: readonly string[]
  /** The types of what may be bound, NULL apart. */
  readonly writes: readonly string[]
  readonly isNullable: boolean
  /** True if an INSERT may leave it out. */
  readonly isOptional: boolean
  /** True if the database computes it, and refuses any value. */
  readonly isGenerated: boolean
}

export interface Table {
  /** As `database.table(name)` takes it. */
  readonly name: string
  readonly columns: readonly Column[]
  /** False for a view that takes no INSERT. */
  readonly isWritable: boolean
}

export interface Schema {
  readonly tables: readonly Table[]
  /** What is left out, and why. */
  readonly notes: readonly string[]
}

/** Returns whether Knex addresses a table by this name: it trims names, and splits them at dots and at ` as `. */
export function isAddressable(name: string): boolean {
  return name !== '' && name === name.trim() && !/\.|\sas\s/i.test(name)
}

export function unaddressable(name: string): string {
  return `Left out ${JSON.stringify(name)}: Knex cannot address a table of this name.`
}

/**
 * Returns the tables that are in all of the schemas, with types that hold for each of them: for a program that runs on
 * databases of more than one kind.
 */
export function commonSchema(schemas: readonly Schema[]): Schema {
  const [first, ...others] = schemas
  if (first === undefined) return { tables: [], notes: [] }
  return others.reduce((common, schema) => {
    const tables = inBoth(common.tables, schema.tables)
    const pairs = tables.common.map(([one, other]) => {
      const columns = inBoth(one.columns, other.columns)
      const table: Table = {
        name: one.name,
        columns: columns.common.map(([column, same]) => commonColumn(column, same)),
        isWritable: one.isWritable && other.isWritable,
      }
      return { table, missing: columns.single.map((column) => `${one.name}.${column}`) }
    })
    const missing = [...tables.single, ...pairs.flatMap((pair) => pair.missing)]
    return {
      tables: pairs.map(({ table }) => table),
      notes: [
        ...common.notes,
        ...schema.notes,
        ...missing.map((name) => `Left out ${JSON.stringify(name)}: not every database has it.`),
      ],
    }
  }, first)
}

function commonColumn(one: Column, other: Column): Column {
  return {
    name: one.name,
    reads: [...new Set([...one.reads, ...other.reads])],
    writes: [...new Set([...one.writes, ...other.writes])],
    isNullable: one.isNullable || other.isNullable,
    isOptional: one.isOptional && other.isOptional,
    isGenerated: one.isGenerated || other.isGenerated,
  }
}

interface Named {
  readonly name: string
}

function inBoth<T extends Named>(
  ones: readonly T[],
  others: readonly T[],
): { readonly common: (readonly [T, T])[]; readonly single: string[] } {
  const common = ones.flatMap((one) => {
    const same = others.find(({ name }) => name === one.name)
    return same === undefined ? [] : [[one, same] as const]
  })
  const names = new Set(common.map(([{ name }]) => name))
  const single = [...ones, ...others].map(({ name }) => name).filter((name) => !names.has(name))
  return { common, single }
}
