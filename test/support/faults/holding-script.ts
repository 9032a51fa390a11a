/** A process that holds a transaction until it is told to continue, and then prints the events of its pool. */
import { once } from 'node:events'
import { Database } from '../../../src/database'

async function main(url: string): Promise<void> {
  const told: string[] = []
  const database = new Database(url, { pool: { leakThresholdMillis: 2000, leakTimeoutMillis: 3000 } })
  database.on('leak', ({ state }) => told.push(state))
  database.on('retire', ({ reason }) => told.push(reason))
  await database.connect()
  await database.transaction(async (tx) => {
    const one = await tx.fetchVal<number>('select 1')
    process.stdout.write('holding\n')
    await once(process.stdin, 'data')
    process.stdin.destroy()
    const sum = Number(one) + Number(await tx.fetchVal('select 1'))
    process.stdout.write(`${JSON.stringify({ sum, told })}\n`)
  })
  await database.disconnect()
}

void main(JSON.parse(process.argv[2] ?? '') as string)
