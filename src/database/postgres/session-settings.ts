/** Settings that every session on PostgreSQL gets, when it opens and again after DISCARD ALL. */
import type { RawConnection } from './pg-client'

/**
 * The formats that values are read and written in, whatever the server, the database or the role has set. They are not
 * startup parameters because poolers refuse those.
 */
const FORMATS: Readonly<Record<string, (current: string) => string>> = {
  client_encoding: () => 'UTF8',
  // The order of day and month, the second part of DateStyle, stays as it was.
  DateStyle: (current) => (current.startsWith('ISO') ? current : 'ISO'),
  IntervalStyle: () => 'postgres',
  // PostgreSQL writes all digits from 1 on, and before version 12 from 3 on.
  extra_float_digits: (current) => (Number(current) >= 1 ? current : '3'),
  // If it is off, a NULL in an array that is bound becomes the text 'NULL'.
  array_nulls: () => 'on',
}

/** Settings kept as they were when the session was opened: Knex's `searchPath` or a pooler has set them. */
const PRESERVED = ['search_path', 'application_name', 'TimeZone']

const NAMES = [...Object.keys(FORMATS), ...PRESERVED]

const READ = `SELECT pg_backend_pid() AS pid, ${NAMES.map((name) => `current_setting('${name}') AS "${name}"`).join(', ')}`

/** Sets only those that differ: behind a pooler the session may belong to another client. */
export const APPLY_SETTINGS = `
  SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[]) AS wanted (name, value)
  WHERE current_setting(name) <> value`

export interface SessionSettings {
  /** The bindings of {@link APPLY_SETTINGS}. */
  readonly bindings: readonly [names: readonly string[], values: readonly string[]]
  /** The process id of the server process that answered. */
  readonly pid: number
}

/** Reads the settings of a new session, and changes those that have to differ. */
export async function applySessionSettings(raw: RawConnection): Promise<SessionSettings> {
  const { rows } = await raw.query<Record<string, string>>(READ)
  const [current = {}] = rows
  const values = NAMES.map((name) => FORMATS[name]?.(current[name] ?? '') ?? current[name] ?? '')
  const bindings = [NAMES, values] as const
  if (NAMES.some((name, index) => current[name] !== values[index]))
    await raw.query(APPLY_SETTINGS, [...bindings])
  return { bindings, pid: Number(current['pid']) }
}
