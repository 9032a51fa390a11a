/** The process in which single queries are compared: `main.js <postgresql url> <rounds> <millis>` prints JSON. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { compare, type Compared, type Extent } from './compare'
import { openSqlite } from './sqlite'
import { type Group, openVerbs } from './verbs'

export interface ComparedGroup {
  readonly title: string
  readonly compared: readonly Compared[]
}

/** How many of a kind are under way at once on SQLite, as behind a server with as many clients. */
export const SQLITE_CONCURRENCY = 64

async function compareAll(groups: readonly Group[], extent: Extent): Promise<ComparedGroup[]> {
  const results: ComparedGroup[] = []
  for (const { title, ways } of groups) results.push({ title, compared: await compare(ways, extent) })
  return results
}

async function run(url: string, rounds: number, millis: number): Promise<void> {
  const verbs = await openVerbs(url)
  const postgresql = await compareAll(verbs.groups, { rounds, millis, concurrency: 1 })
  await verbs.close()

  const folder = await mkdtemp(path.join(tmpdir(), 'millpond-bench-'))
  const files = await openSqlite(folder)
  const sqlite = await compareAll(files.groups, { rounds, millis, concurrency: SQLITE_CONCURRENCY })
  await files.close()
  await rm(folder, { recursive: true })
  process.stdout.write(JSON.stringify({ postgresql, sqlite }))
}

if (require.main === module) {
  const [url = '', rounds, millis] = process.argv.slice(2)
  void run(url, Number(rounds), Number(millis))
}
