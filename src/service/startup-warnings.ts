/** Warnings for the operator at start-up, about settings that work but are unsafe or misspelt. */
import type { Security } from '../database'

/** Returns a line for each unsafe property of a database's connection. */
export function unsafeConnectionWarnings(
  name: string,
  { isSuperuser, isRemote, isEncrypted }: Security,
): string[] {
  const dangers: string[] = []
  if (isSuperuser)
    dangers.push(
      `database ${name}: its user is a superuser. Give the service a role of its own, which owns its tables and nothing else.`,
    )
  if (isRemote && !isEncrypted)
    dangers.push(
      `database ${name}: it is on another machine, and the way there is not encrypted. Add sslmode=verify-full to its URL.`,
    )
  return dangers
}

/** The largest distance of a misspelling: a name that differs more is meant to be another one. */
const MAX_DISTANCE = 2

/** Returns a line for each variable that looks like a misspelt setting, which would be ignored silently. */
export function misspeltSettingWarnings(variables: readonly string[], known: readonly string[]): string[] {
  const families = new Set(known.filter((name) => name.includes('_')).map(familyOf))
  return variables.flatMap((name) => {
    if (known.includes(name) || !families.has(familyOf(name))) return []
    const meant = known
      .map((setting) => ({ setting, distance: distanceBetween(name, setting) }))
      .filter(({ distance }) => distance <= MAX_DISTANCE)
      .toSorted((a, b) => a.distance - b.distance)[0]
    return meant === undefined ? [] : [`${name} is no setting, and is ignored. ${meant.setting} is one.`]
  })
}

/** `DATABASE_POOL_SIZE` → DATABASE. */
function familyOf(name: string): string {
  return name.slice(0, Math.max(0, name.indexOf('_')))
}

/** Returns the Levenshtein distance: how many characters have to be added, removed or changed. */
function distanceBetween(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (const [row, letter] of a.split('').entries()) {
    const line = [row + 1]
    for (const [column, other] of b.split('').entries()) {
      const [diagonal = 0, up = 0] = [above[column], above[column + 1]]
      line.push(Math.min(up + 1, (line[column] ?? 0) + 1, diagonal + (letter === other ? 0 : 1)))
    }
    above = line
  }
  return above.at(-1) ?? 0
}
