/** A process that opens each file whose URL it is told, writes a row, closes it, and says how that went. */
import { createInterface } from 'node:readline'
import { Database } from '../../../src/database'

async function open(url: string): Promise<string> {
  const database = new Database(url)
  try {
    await database.connect()
    await database.execute('create table if not exists openers (id integer primary key)')
    await database.execute('insert into openers (id) values (:id)', { id: process.pid })
    return 'opened'
  } catch (error) {
    return String(error)
  } finally {
    await database.disconnect()
  }
}

async function main(): Promise<void> {
  process.stdout.write('ready\n')
  for await (const url of createInterface({ input: process.stdin })) {
    process.stdout.write(`${await open(url)}\n`)
  }
}

void main()
