/** Reads the tables of a PostgreSQL database from its catalogs. */
import type { Queryable } from '../database'
import { type Column, isAddressable, type Schema, type Table, unaddressable } from './schema'
import { UsageError } from './usage-error'
import { literal } from './write-interface'

/** Without partitions, which are written through their table, and without what extensions have brought. */
const COLUMNS = `
  SELECT n.nspname AS schema, c.relname AS "table", pg_catalog.pg_table_is_visible(c.oid) AS is_visible,
    pg_catalog.pg_relation_is_updatable(c.oid, true) & 8 > 0 AS is_writable,
    a.attname AS name, CAST(a.atttypid AS text) AS type, a.attnotnull AS is_not_null,
    a.atthasdef OR a.attidentity <> '' AS has_default,
    a.attgenerated <> '' OR a.attidentity = 'a' AS is_generated
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition AND n.nspname IN (:schemas)
    AND NOT EXISTS (
      SELECT FROM pg_catalog.pg_depend AS d
      WHERE d.classid = CAST('pg_catalog.pg_class' AS regclass) AND d.objid = c.oid AND d.deptype = 'e')
  ORDER BY n.nspname, c.relname, a.attnum`

interface ColumnRow {
  readonly schema: string
  readonly table: string
  readonly is_visible: boolean
  readonly is_writable: boolean
  /** Null for a table without columns, as are all that follow. */
  readonly name: string | null
  readonly type: string
  readonly is_not_null: boolean
  readonly has_default: boolean
  readonly is_generated: boolean
}

/** A type is an array if it is the array type of another one: so are not int2vector and oidvector, which are text. */
const TYPES = `
  SELECT CAST(t.oid AS text) AS id, t.typname AS name, t.typnamespace = CAST('pg_catalog' AS regnamespace) AS is_built_in,
    CAST(e.oid AS text) AS element, CAST(nullif(t.typbasetype, 0) AS text) AS base,
    t.typnotnull AS is_not_null, t.typdefault IS NOT NULL AS has_default,
    ARRAY(SELECT enumlabel FROM pg_catalog.pg_enum WHERE enumtypid = t.oid) AS labels
  FROM pg_catalog.pg_type AS t LEFT JOIN pg_catalog.pg_type AS e ON e.typarray = t.oid`

interface TypeRow {
  readonly id: string
  readonly name: string
  readonly is_built_in: boolean
  readonly element: string | null
  readonly base: string | null
  readonly is_not_null: boolean
  readonly has_default: boolean
  readonly labels: readonly string[]
}

/** What a query returns for a built-in type, and what may be bound; all others are text. See docs/queries.md#types. */
const BUILT_IN: Readonly<Record<string, readonly [reads: string, ...alsoWrites: string[]]>> = {
  int2: ['number'],
  int4: ['number'],
  oid: ['number'],
  float4: ['number'],
  float8: ['number'],
  int8: ['string', 'number', 'bigint'],
  numeric: ['string', 'number', 'bigint'],
  bool: ['boolean'],
  bytea: ['Buffer'],
  timestamp: ['Date', 'string'],
  timestamptz: ['Date', 'string'],
  json: ['unknown'],
  jsonb: ['unknown'],
  interval: [
    "{ [unit in 'years' | 'months' | 'days' | 'hours' | 'minutes' | 'seconds' | 'milliseconds']?: number }",
    'string',
  ],
  point: ['{ x: number; y: number }', 'string'],
  circle: ['{ x: number; y: number; radius: number }', 'string'],
}

/**
 * Reads tables, views and materialized views.
 *
 * @param schemas by default those of the search path
 */
export async function readPostgres(database: Queryable, schemas: readonly string[]): Promise<Schema> {
  const names =
    schemas.length > 0
      ? schemas
      : await database.fetchVal<string[]>('SELECT CAST(pg_catalog.current_schemas(false) AS text[])')
  const existing = await database.fetchAll<{ name: string }>(
    'SELECT nspname AS name FROM pg_catalog.pg_namespace WHERE nspname IN (:names)',
    { names },
  )
  const absent = schemas.find((schema) => existing.every(({ name }) => name !== schema))
  if (absent !== undefined) throw new UsageError(`There is no schema ${JSON.stringify(absent)}.`)
  const rows = await database.fetchAll<ColumnRow>(COLUMNS, { schemas: names })
  const types = new Types(await database.fetchAll<TypeRow>(TYPES))
  const tables = new Map<string, Table & { readonly columns: Column[] }>()
  const notes = new Set<string>()
  for (const row of rows) {
    const { schema, table } = row
    const name = row.is_visible ? table : `${schema}.${table}`
    if (!isAddressable(table) || !isAddressable(schema)) {
      notes.add(unaddressable(name))
      continue
    }
    const known = tables.get(name) ?? { name, isWritable: row.is_writable, columns: [] }
    tables.set(name, known)
    known.columns.push(...types.columnOf(row))
  }
  return { tables: [...tables.values()], notes: [...notes] }
}

/** The types of one database. */
class Types {
  readonly #rows: ReadonlyMap<string, TypeRow>

  constructor(rows: readonly TypeRow[]) {
    this.#rows = new Map(rows.map((row) => [row.id, row]))
  }

  columnOf({ name, type, is_not_null, has_default, is_generated }: ColumnRow): Column[] {
    if (name === null) return []
    const domains = this.#domainsOf(type)
    const isNullable = !is_not_null && !domains.some((domain) => domain.is_not_null)
    return [
      {
        name,
        reads: this.#typesOf(type, ([reads]) => [reads]),
        writes: this.#typesOf(type, (types) => types),
        isNullable,
        isOptional: isNullable || has_default || domains.some((domain) => domain.has_default),
        isGenerated: is_generated,
      },
    ]
  }

  /** Returns the domains that a type is made of; none for any other type. */
  #domainsOf(id: string): TypeRow[] {
    const row = this.#rows.get(id)
    return row === undefined || row.base === null ? [] : [row, ...this.#domainsOf(row.base)]
  }

  #typesOf(
    id: string,
    choose: (types: readonly [string, ...string[]]) => readonly string[],
  ): readonly string[] {
    const { name = '', is_built_in = false, element, base, labels = [] } = this.#rows.get(id) ?? {}
    if (typeof base === 'string') return this.#typesOf(base, choose)
    if (typeof element === 'string') {
      const elements = this.#typesOf(element, choose).toSorted()
      return [
        elements.length === 1 && !elements[0]?.startsWith("'")
          ? `${elements[0]}[]`
          : `(${elements.join(' | ')})[]`,
      ]
    }
    if (labels.length > 0) return labels.map(literal)
    return choose((is_built_in ? BUILT_IN[name] : undefined) ?? ['string'])
  }
}
