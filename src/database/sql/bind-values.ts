/** Checks that the values given with SQL text match its placeholders. */
import { BindError, ConfigurationError } from '../errors'

/** Values for the `:names` of a text. */
export type Values = Readonly<Record<string, unknown>>

/** @throws ConfigurationError for values given with a query that has its own */
export function refuseValues(values: Values | undefined, what: string): void {
  if (values !== undefined && Object.keys(values).length > 0) {
    throw new ConfigurationError(`Values go with SQL text; ${what} has its own.`)
  }
}

/** @throws BindError when the names of the values are not those of the text */
export function refuseMismatch(names: readonly string[], values: Values, text: string): void {
  if (typeof values !== 'object' || values === null) {
    throw new ConfigurationError(
      `Values are an object with a property for each :name, got ${typeName(values)}.`,
    )
  }
  const given = Object.keys(values)
  if (given.length === names.length && names.every((name) => Object.hasOwn(values, name))) return
  const missing = names.filter((name) => !Object.hasOwn(values, name))
  const extra = given.filter((name) => !names.includes(name))
  if (missing.length === 0 && extra.length === 0) return
  throw new BindError(`The values do not match the statement: ${mismatch(missing, extra)}.`, text)
}

function mismatch(missing: readonly string[], extra: readonly string[]): string {
  const list = (names: readonly string[]): string => names.map((name) => `:${name}`).join(', ')
  const parts: string[] = []
  if (missing.length > 0) parts.push(`it needs ${list(missing)}, for which no value was given`)
  if (extra.length > 0) parts.push(`it has no ${list(extra)}, for which a value was given`)
  return parts.join('; ')
}

/** Returns what to call a value in an error, without its content. */
export function typeName(value: unknown): string {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'an array' : typeof value
}
