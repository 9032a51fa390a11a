/**
 * Prints which files of the library a query and a transaction run code of, on a connection that has run them before, as JSON.
 *
 *     npx tsx test/support/files-passed.ts postgresql://user@host/name
 */
import { Session, type Profiler } from 'node:inspector/promises'
import { Database } from '../../src/database'

const SQL = 'SELECT id FROM files_passed WHERE id = :id'

async function main(url: string): Promise<void> {
  const inspector = new Session()
  inspector.connect()
  await inspector.post('Profiler.enable')
  await inspector.post('Profiler.startPreciseCoverage', { callCount: true })
  await using database = new Database(url)
  await database.connect()
  await database.execute('CREATE TABLE files_passed (id integer PRIMARY KEY, n integer)')
  await database.execute('INSERT INTO files_passed VALUES (1, 0)')
  const works = {
    query: () => database.fetchOne(SQL, { id: 1 }),
    transaction: () =>
      database.transaction((tx) => tx.execute('UPDATE files_passed SET n = n + 1 WHERE id = :id', { id: 1 })),
  }
  const passed: Record<string, string[]> = {}
  for (const [name, work] of Object.entries(works)) {
    for (let warmUp = 0; warmUp < 5; warmUp += 1) await work()
    await inspector.post('Profiler.takePreciseCoverage')
    await work()
    const { result } = await inspector.post('Profiler.takePreciseCoverage')
    passed[name] = result.filter(isPassed).map(({ url: file }) => file.replace(/^.*\/src\/database\//, ''))
  }
  await database.execute('DROP TABLE files_passed')
  process.stdout.write(JSON.stringify(passed))
}

/** Code outside of functions runs when a file is loaded. */
function isPassed({ url, functions }: Profiler.ScriptCoverage): boolean {
  if (!url.includes('/src/database/')) return false
  return functions.some(({ functionName, ranges }) => functionName !== '' && (ranges[0]?.count ?? 0) > 0)
}

void main(process.argv[2] ?? '')
