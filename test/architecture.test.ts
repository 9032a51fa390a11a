/** Holds the arrows between the folders of src/ and the form of its files, and shows that the checker sees violations. */
import { readFileSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { longestChain, violations } from './support/architecture'
import { standingCheck } from './support/standing-check'

const root = path.resolve(__dirname, '..')

function sourcesOf(folder: string): Map<string, string> {
  const files = readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
    .map((file) => path.posix.join(folder, file.split(path.sep).join('/')))
    .filter((file) => file.endsWith('.ts'))
  return new Map(files.map((file) => [file, readFileSync(path.join(root, file), 'utf8')]))
}

/** A tree that breaks no rule, changed by `files`. */
function planted(files: Record<string, string>): Map<string, string> {
  return new Map(
    Object.entries({
      'src/database/index.ts': `// The door.\nexport { Database } from './database'`,
      'src/database/database.ts': `// A Database.\nimport type { Knex } from 'knex'\nexport class Database { knex?: Knex }`,
      'src/database/pool/pool.ts': `// The pool.\nimport { Pool } from 'tarn'\nexport const pool = Pool`,
      'src/express/index.ts': `// The door.\nimport { Database } from '../database'\nexport const serve = Database`,
      'src/testing/index.ts': `// The door.\nimport type { Database } from '../database/index'\nexport type D = Database`,
      'src/service/config.ts': `// The configuration.\nexport const url = process.env['DATABASE_URL']`,
      'src/service/app.ts': `/* The app. */\nimport { serve } from '../express'\nimport { url } from './config'\nserve(url)`,
      ...files,
    }),
  )
}

describe('the source tree', () => {
  standingCheck()

  it('keeps the arrows, has no circles, and its files begin with a comment and are short', () => {
    const sources = sourcesOf('src')
    expect(sources.size).toBeGreaterThan(10)
    expect(violations(sources)).toEqual([])
  })

  it('can be followed: no chain of imports in the library is longer than 18 files, and no folder holds more than 20', () => {
    const sources = sourcesOf('src/database')
    expect(longestChain(sources, 'src/database/index.ts').length).toBeLessThanOrEqual(18)
    const folders = [...sources.keys()].map((file) => path.posix.dirname(file))
    const largest = Math.max(...folders.map((folder) => folders.filter((other) => other === folder).length))
    expect(largest).toBeLessThanOrEqual(20)
  })
})

describe('the checker of the source tree', () => {
  it('finds nothing in a tree that breaks no rule', () => {
    expect(violations(planted({}))).toEqual([])
  })

  it.each<[string, Record<string, string>, RegExp]>([
    [
      'an arrow against the direction',
      { 'src/database/url.ts': `// A URL.\nimport { serve } from '../express'\nserve()` },
      /database may not know express/,
    ],
    [
      'an arrow against the direction in a type import',
      {
        'src/express/health.ts': `// Health.\nimport type { App } from '../service/app'\nexport type H = App`,
      },
      /express may not know service/,
    ],
    [
      'an arrow back up between folders of the library, in a type import',
      {
        'src/database/context/scope.ts': `// A scope.\nimport type { pool } from '../pool/pool'\nexport type P = typeof pool`,
      },
      /context may not know pool/,
    ],
    [
      'a database that is known outside of what puts it together',
      {
        'src/database/postgres/dialect.ts': `// A dialect.\nexport const postgres = 1`,
        'src/database/query/backend.ts': `// What it stands on.\nexport * from '../postgres/dialect'`,
      },
      /query may not know postgres/,
    ],
    [
      'an import past the index of a layer',
      { 'src/express/health.ts': `// Health.\nexport * from '../database/database'` },
      /not through src\/database\/index\.ts/,
    ],
    [
      'an import past the index in an import type',
      { 'src/service/users.ts': `// Users.\nexport type D = import('../database/database').Database` },
      /not through src\/database\/index\.ts/,
    ],
    [
      'a driver as a value outside of the backend',
      {
        'src/database/transaction/connection.ts': `// A connection.\nimport { Client } from 'pg'\nnew Client()`,
      },
      /imports pg as a value/,
    ],
    [
      'a driver required inside of a function',
      { 'src/service/seed.ts': `// Seeds.\nexport const load = () => require('sqlite3')` },
      /imports sqlite3 as a value/,
    ],
    [
      'a driver loaded by import()',
      { 'src/express/health.ts': `// Health.\nexport const load = () => import('pg-cursor')` },
      /imports pg-cursor as a value/,
    ],
    [
      'a file inside of a driver',
      { 'src/service/seed.ts': `// Seeds.\nimport Client from 'knex/lib/client'\nnew Client()` },
      /imports knex\/lib\/client as a value/,
    ],
    [
      'a type of a driver next to a value of it',
      {
        'src/service/seed.ts': `// Seeds.\nimport { type Knex, knex } from 'knex'\nexport const k: Knex = knex({})`,
      },
      /imports knex as a value/,
    ],
    [
      'a web framework in the library',
      {
        'src/database/context/scope.ts': `// A scope.\nimport type { Request } from 'express'\nexport type R = Request`,
      },
      /imports the web framework express/,
    ],
    [
      'process.env',
      { 'src/database/url.ts': `// A URL.\nexport const home = process.env.HOME` },
      /reads process\.env/,
    ],
    [
      'process.env by an index',
      { 'src/service/app.ts': `// The app.\nexport const home = globalThis.process['env']` },
      /reads process\.env/,
    ],
    [
      'process.env taken apart',
      { 'src/express/serve.ts': `// Serves.\nconst { env } = process\nexport const port = env['PORT']` },
      /reads process\.env/,
    ],
    [
      'env imported from node:process',
      {
        'src/express/serve.ts': `// Serves.\nimport { env } from 'node:process'\nexport const port = env['PORT']`,
      },
      /reads process\.env/,
    ],
    [
      'a circle of values and types',
      {
        'src/database/a.ts': `// A.\nimport { b } from './b'\nexport const a = b`,
        'src/database/b.ts': `// B.\nimport type { C } from './c'\nexport const b: C = 1`,
        'src/database/c.ts': `// C.\nimport type { a } from './a'\nexport type C = typeof a | number`,
      },
      /a circle of imports: src\/database\/a\.ts -> src\/database\/b\.ts -> src\/database\/c\.ts -> src\/database\/a\.ts/,
    ],
    [
      'a file without a first comment',
      { 'src/express/serve.ts': `export const port = 1 // a port` },
      /begin with a comment/,
    ],
    [
      'a file of more than 400 lines',
      { 'src/express/serve.ts': `// Serves.\n${'void 0\n'.repeat(400)}` },
      /401 lines/,
    ],
    ['a file with a name for nothing', { 'src/database/pool/utils.ts': '// Things.' }, /says nothing/],
    ['an import of nothing', { 'src/service/users.ts': `// Users.\nimport './posts'` }, /which is not there/],
    [
      'an import from outside of the tree',
      { 'src/service/users.ts': `// Users.\nimport '../../test/support/free-port'` },
      /outside of src/,
    ],
  ])('finds %s', (_what, files, message) => {
    expect(violations(planted(files))).toEqual([expect.stringMatching(message)])
  })

  it('accepts a type of a driver anywhere, in each way to import a type', () => {
    const sources = planted({
      'src/service/a.ts': `// A.\nimport { type Knex } from 'knex'\nexport type K = Knex`,
      'src/service/b.ts': `// B.\nexport type { Knex } from 'knex'`,
      'src/service/c.ts': `// C.\nexport type K = import('pg').Client`,
    })
    expect(violations(sources)).toEqual([])
  })
})
