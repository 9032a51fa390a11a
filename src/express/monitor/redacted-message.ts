/** Messages of errors without what may be a value: the page shows names, never data. */
import { type DatabaseError, fingerprintOf, PoolTimeoutError } from '../../database'

/** A message that lists the holders of fifteen connections is shorter. */
const MAX_LENGTH = 6000

const QUOTED = /"([^"]*)"|'([^']*)'/g

/**
 * Returns the message with fingerprints for the texts of statements, and `…` for quoted parts, which may be values that
 * stood in a text. `names` stay: of the database, its user and so on.
 */
export function redactedMessage(error: DatabaseError, sql: string | null, names: readonly string[]): string {
  // The message of a RAISE in a function of the database may contain values in any form, whatever its SQLSTATE is.
  const { code, routine } = (error.cause ?? {}) as { readonly code?: string; readonly routine?: string }
  if (routine === 'exec_stmt_raise' || error.message.includes('(SQLSTATE P0001)'))
    return `Raised by a function in the database. (SQLSTATE ${code ?? 'P0001'})`
  const isFullPool = error instanceof PoolTimeoutError
  const texts = isFullPool ? error.holders.map((holder) => holder.sql) : [sql]
  const message = withFingerprints(error.message, texts)
  const redacted = isFullPool
    ? message
    : message.replace(QUOTED, (quoted: string, double?: string, single?: string) =>
        names.includes(double ?? single ?? '') ? quoted : `${quoted[0]}…${quoted[0]}`,
      )
  return redacted.length > MAX_LENGTH ? `${redacted.slice(0, MAX_LENGTH)}…` : redacted
}

/** Replaces the longest first: a shorter text may be a part of it, and its values would stay behind. */
function withFingerprints(message: string, texts: readonly (string | null)[]): string {
  return texts
    .flatMap((text) => text?.trim() || [])
    .toSorted((a, b) => b.length - a.length)
    .reduce((all, text) => all.replaceAll(text, () => fingerprintOf(text)), message)
}
