/** What an operator is warned of at start-up: what works, and should not stay so. */
import type { Security } from '../database'

/** A line for each danger of a database. */
export function dangersOf(name: string, { isSuperuser, isRemote, isEncrypted }: Security): string[] {
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

/** A name that differs in more characters is meant to be another one. */
const FARTHEST = 2

/** A line for each variable that looks like a setting that was misspelt: it would be ignored without a word. */
export function misspeltIn(variables: readonly string[], known: readonly string[]): string[] {
  const families = new Set(known.filter((name) => name.includes('_')).map(familyOf))
  return variables.flatMap((name) => {
    if (known.includes(name) || !families.has(familyOf(name))) return []
    const meant = known
      .map((setting) => ({ setting, distance: distanceBetween(name, setting) }))
      .filter(({ distance }) => distance <= FARTHEST)
      .toSorted((a, b) => a.distance - b.distance)[0]
    return meant === undefined ? [] : [`${name} is no setting, and is ignored. ${meant.setting} is one.`]
  })
}

/** `DATABASE_POOL_SIZE` → DATABASE. */
function familyOf(name: string): string {
  return name.slice(0, Math.max(0, name.indexOf('_')))
}

/** How many characters have to be added, taken away or changed (Levenshtein). */
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
