/** The same rows in SQLite: a file for each stack, since a file has one writer. */
import { copyFile } from 'node:fs/promises'
import path from 'node:path'
import { knex } from 'knex'
import { urlOf } from '../sqlite-drivers'
import { environmentFor, FILLING, keptSince, type Place, type Sum, SUM } from './prepare'
import { startServer } from './server-process'
import { SERVICE, type Stack } from './stacks'

export async function prepareSqlite(folder: string, stacks: readonly Stack[]): Promise<Place> {
  const fileOf = (id: string): string => path.join(folder, `${id}.db`)
  await (await startServer(SERVICE, environmentFor(urlOf('sqlite3', fileOf('first'))))).stop()
  await ask(fileOf('first'), [...FILLING, 'ANALYZE'])
  const before = await ask(fileOf('first'), [SUM])
  for (const { id } of stacks) await copyFile(fileOf('first'), fileOf(id))
  const checks = stacks.map(({ id }) => keptSince(before, () => ask(fileOf(id), [SUM])))
  return {
    environmentOf: ({ id, driver = 'sqlite3' }) => environmentFor(urlOf(driver, fileOf(id))),
    postgresPid: null,
    async checkMoney() {
      for (const check of checks) await check()
    },
  }
}

/** Resolves to the first row of the last statement. */
async function ask(filename: string, statements: readonly string[]): Promise<Sum | undefined> {
  const db = knex({ client: 'sqlite3', connection: { filename }, useNullAsDefault: true })
  try {
    let rows: Sum[] = []
    for (const statement of statements) rows = await db.raw<Sum[]>(statement)
    return rows[0]
  } finally {
    await db.destroy()
  }
}
