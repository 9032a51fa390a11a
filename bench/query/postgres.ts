/** The process in which single queries on PostgreSQL are compared: `postgres.js <url> <rounds> <millis>` prints JSON. */
import { compareAll } from './compare'
import { openVerbs } from './verbs'

async function run(url: string, rounds: number, millis: number): Promise<void> {
  const verbs = await openVerbs(url)
  const groups = await compareAll(verbs.groups, { rounds, millis, concurrency: 1 })
  await verbs.close()
  process.stdout.write(JSON.stringify(groups))
}

const [url = '', rounds, millis] = process.argv.slice(2)
void run(url, Number(rounds), Number(millis))
