/** Reads the tables of a SQLite database from its pragmas. */
import { type Queryable, QueryError } from '../database'
import { type Column, isAddressable, type Schema, type Table, unaddressable } from './schema'

/** A view can be written if it has a trigger, since a view's triggers are all INSTEAD OF. */
const TABLES = `
  SELECT t.name, t.type <> 'view' OR EXISTS (
      SELECT 1 FROM sqlite_schema AS s WHERE s.type = 'trigger' AND s.tbl_name = t.name COLLATE NOCASE) AS is_writable,
    NOT EXISTS (SELECT 1 FROM pragma_index_list(t.name, 'main') WHERE origin = 'pk') AS has_no_key_index
  FROM pragma_table_list AS t
  WHERE t.schema = 'main' AND t.type <> 'shadow' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
  ORDER BY t.name`

interface TableRow {
  readonly name: string
  readonly is_writable: 0 | 1
  /** True, too, where the primary key is the rowid. */
  readonly has_no_key_index: 0 | 1
}

/** Hidden columns of 1 are those of virtual tables that SELECT * does not return; 2 and 3 are generated. */
const COLUMNS = `
  SELECT name, type, "notnull" AS is_not_null, dflt_value IS NOT NULL AS has_default, pk, hidden > 1 AS is_generated
  FROM pragma_table_xinfo(:table, 'main') WHERE hidden <> 1`

interface ColumnRow {
  readonly name: string
  readonly type: string
  readonly is_not_null: 0 | 1
  readonly has_default: 0 | 1
  readonly pk: number
  readonly is_generated: 0 | 1
}

type Types = Pick<Column, 'reads' | 'writes'>

const NUMBER: Types = { reads: ['number'], writes: ['number'] }
const STRING: Types = { reads: ['string'], writes: ['string'] }
const LARGE: Types = { reads: ['number'], writes: ['number', 'string', 'bigint'] }

/** What a query returns by the declared type, which is but a name. See docs/queries.md#types. */
const BY_NAME: readonly (readonly [RegExp, Types])[] = [
  // As the library recognizes them.
  [/^bool/, { reads: ['boolean'], writes: ['boolean'] }],
  [/^json/, { reads: ['unknown'], writes: ['unknown'] }],
  [/^date(?!time)/, STRING],
  [/^(?:datetime|timestamp)/, { reads: ['string'], writes: ['string', 'Date'] }],
  [/^(?:big ?int|int8|unsigned big int)/, LARGE],
  [/^(?:unsigned )?(?:tiny|small|medium)?int(?:eger)?[24]?\b/, NUMBER],
  [/char|clob|text|^time|^uuid/, STRING],
  [/blob/, { reads: ['Buffer'], writes: ['Buffer'] }],
  [/real|floa|doub/, NUMBER],
  [/^(?:num|dec|money)/, LARGE],
  // Any other name makes numbers of texts that look like one.
  [/./, { reads: ['number', 'string'], writes: ['number', 'string'] }],
]

/** Of a column without a type, as in a view where it is an expression. */
const ANY: Types = { reads: ['Buffer', 'number', 'string'], writes: ['Buffer', 'number', 'string'] }

/** The driver returns integers beyond 2^53 as text, which only these are likely to hold. */
const LARGE_AS_TEXT: Types = { ...LARGE, reads: ['number', 'string'] }

/** Reads tables and views. `isExact` says that the driver returns integers beyond 2^53. */
export async function readSqlite(database: Queryable, isExact: boolean): Promise<Schema> {
  const notes: string[] = []
  const tables: Table[] = []
  for (const { name, is_writable, has_no_key_index } of await database.fetchAll<TableRow>(TABLES)) {
    if (!isAddressable(name)) {
      notes.push(unaddressable(name))
      continue
    }
    try {
      const rows = await database.fetchAll<ColumnRow>(COLUMNS, { table: name })
      const columns = rows.map((row): Column => {
        // The rowid under another name: never NULL, and given out where an INSERT leaves it out.
        const isRowid = row.pk === 1 && has_no_key_index === 1 && /^integer$/i.test(row.type)
        const isNullable = row.is_not_null === 0 && !isRowid
        return {
          name: row.name,
          ...typesOf(row.type, isExact),
          isNullable,
          isOptional: isNullable || isRowid || row.has_default === 1,
          isGenerated: row.is_generated === 1,
        }
      })
      tables.push({ name, columns, isWritable: is_writable === 1 })
    } catch (error) {
      // A view of a table that is gone.
      if (!(error instanceof QueryError)) throw error
      notes.push(`Left out ${JSON.stringify(name)}: ${error.message}`)
    }
  }
  return { tables, notes }
}

function typesOf(declared: string, isExact: boolean): Types {
  const type = declared.toLowerCase()
  if (type === '' || type === 'any') return ANY
  const [, types = ANY] = BY_NAME.find(([pattern]) => pattern.test(type)) ?? []
  return types === LARGE && isExact ? LARGE_AS_TEXT : types
}
