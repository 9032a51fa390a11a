/** The interfaces of the service's tables match its migrations, on every kind of database. `npm run types` writes them. */
import path from 'node:path'
import { typesCommand } from '../../src/cli/types-command'
import { Database } from '../../src/database'
import { type Folder, migrate } from '../../src/service/migrations'
import { scratches } from '../support/each-database'
import { standingCheck } from '../support/standing-check'

const root = path.resolve(__dirname, '..', '..')
const databases = scratches(process.env['TEST_DATABASE_URLS'] ?? '')
/** The types hold for both kinds of database, so that both are needed. */
const hasBoth = new Set(databases.map(({ dialect }) => dialect)).size === 2

async function migrated(folder: Folder): Promise<string[]> {
  return Promise.all(
    databases.map(async (scratch) => {
      const url = await scratch.create()
      await using database = new Database(url)
      await database.connect()
      await migrate(database, folder)
      return url
    }),
  )
}

describe('the interface of the tables', () => {
  standingCheck()
  afterAll(() => Promise.all(databases.map((scratch) => scratch.dropAll())))

  it.each<[Folder, string]>([
    ['main', 'src/service/tables.ts'],
    ['products', 'src/service/products/tables.ts'],
  ])('of the database %s matches its migrations on SQLite and on PostgreSQL', async (folder, file) => {
    if (!hasBoth) return
    const urls = (await migrated(folder)).flatMap((url) => ['--url', url])
    const check = process.env['WRITE_TABLES'] === '1' ? [] : ['--check']
    expect(await typesCommand([...urls, '--out', path.join(root, file), ...check], undefined)).toBe(0)
  })
})
