/** A process that writes until it is killed; each line that it prints is an id whose rows were acknowledged. */
import { once } from 'node:events'
import { Database } from '../../../src/database'

export interface WritingScript {
  readonly url: string
  /** Begins the ids of its rows. */
  readonly name: string
  readonly writers: number
}

/** Longer than a page, so that a kill may find a row half written. */
const NOTE = 'millpond '.repeat(600)

/** A row and one that refers to it, so that half of a transaction would be seen. */
async function inTransaction(database: Database, id: string): Promise<void> {
  await database.transaction(async (tx) => {
    await tx.execute('insert into parents (id, note) values (:id, :note)', { id, note: NOTE })
    await tx.execute('insert into children (parent) values (:id)', { id })
  })
}

/** The same by one statement: a trigger writes the second row. */
async function byItself(database: Database, id: string): Promise<void> {
  await database.execute('insert into lone_parents (id, note) values (:id, :note)', { id, note: NOTE })
}

async function main({ url, name, writers }: WritingScript): Promise<void> {
  process.stdout.write('ready\n')
  await once(process.stdin, 'data')
  const database = new Database(url)
  await database.connect()
  const loop = async (writer: number): Promise<never> => {
    const write = writer % 2 === 0 ? inTransaction : byItself
    for (let number = 1; ; number += 1) {
      const id = `${name}-${writer}-${number}`
      await write(database, id)
      process.stdout.write(`${id}\n`)
    }
  }
  await Promise.all(Array.from({ length: writers }, (_, writer) => loop(writer)))
}

void main(JSON.parse(process.argv[2] ?? '') as WritingScript)
