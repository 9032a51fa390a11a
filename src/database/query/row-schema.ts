/** Checks what a query gives against the schema that its caller has given. */
import { RowError } from '../errors'
import type { SchemaIssue, SchemaResult, StandardSchema } from '../sql/standard-schema'

/** Returns the rows as the schema gives them. */
export async function checkRows(
  schema: StandardSchema,
  rows: readonly unknown[],
  sql: string,
): Promise<unknown[]> {
  const checked: unknown[] = []
  for (const row of rows) {
    const result = schema['~standard'].validate(row)
    checked.push(outputOf(result instanceof Promise ? await result : result, checked.length + 1, sql))
  }
  return checked
}

/**
 * Returns a row, or a value of it, as the schema gives it.
 *
 * @throws RowError when it does not fit; `column` says of which column it is the value
 */
export async function checkRow(
  schema: StandardSchema,
  value: unknown,
  row: number,
  sql: string,
  column?: string | number,
): Promise<unknown> {
  return outputOf(await schema['~standard'].validate(value), row, sql, column)
}

function outputOf(
  result: SchemaResult<unknown>,
  row: number,
  sql: string,
  column?: string | number,
): unknown {
  if (result.issues === undefined) return result.value
  const paths = [...new Set(result.issues.map((issue) => pathOf(issue, column)))].filter(
    (path) => path !== '',
  )
  throw new RowError(row, paths, sql, { cause: result.issues })
}

/** Returns where an issue is, as in `address.city`; an empty text for an issue of the row as a whole. */
function pathOf({ path = [] }: SchemaIssue, column?: string | number): string {
  const keys = path.map((part) => (typeof part === 'object' ? part.key : part))
  return [...(column === undefined ? [] : [column]), ...keys].map(String).join('.')
}
