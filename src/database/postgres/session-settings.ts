/** What is set on every session to PostgreSQL, and has to be again after DISCARD ALL. */
import type { RawConnection } from './client'

/**
 * The formats in which values can be read, and are written, whatever the server, the database or the role has set. Not by startup parameters:
 * poolers refuse those.
 */
const FORMATS: Readonly<Record<string, (current: string) => string>> = {
  client_encoding: () => 'UTF8',
  // Whether the day or the month comes first in what is written stays as it was.
  DateStyle: (current) => (current.startsWith('ISO') ? current : 'ISO'),
  IntervalStyle: () => 'postgres',
  // From 1 on PostgreSQL writes all digits, before its version 12 from 3 on.
  extra_float_digits: (current) => (Number(current) >= 1 ? current : '3'),
  // Off, a NULL in an array that is bound is the text 'NULL'.
  array_nulls: () => 'on',
}

/** Set by Knex's `searchPath`, or by a pooler for what a client has told it, when the session was opened. */
const KEPT = ['search_path', 'application_name', 'TimeZone']

const NAMES = [...Object.keys(FORMATS), ...KEPT]

const READ = `SELECT pg_backend_pid() AS pid, ${NAMES.map((name) => `current_setting('${name}') AS "${name}"`).join(', ')}`

/** Sets those that are different, and so none in the session of a pooler's other client without need. */
export const APPLY = `
  SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[]) AS wanted (name, value)
  WHERE current_setting(name) <> value`

export interface SessionSettings {
  /** For {@link APPLY}. */
  readonly bindings: readonly [names: readonly string[], values: readonly string[]]
  /** The process of the server that has answered. */
  readonly pid: number
}

/** Reads what a new session has set, and sets what it needs. */
export async function settled(raw: RawConnection): Promise<SessionSettings> {
  const { rows } = await raw.query<Record<string, string>>(READ)
  const [current = {}] = rows
  const values = NAMES.map((name) => FORMATS[name]?.(current[name] ?? '') ?? current[name] ?? '')
  const bindings = [NAMES, values] as const
  if (NAMES.some((name, index) => current[name] !== values[index])) await raw.query(APPLY, [...bindings])
  return { bindings, pid: Number(current['pid']) }
}
