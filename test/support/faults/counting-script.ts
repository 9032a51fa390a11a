/** One of the processes that count: says that it is ready, waits for a word, opens the file, counts, and reports. */
import { once } from 'node:events'
import { type Load, runLoad } from './counting-load'
import { type CounterName, COUNTERS } from './counters'

export interface CountingScript {
  readonly counter: CounterName
  readonly url: string
  readonly load: Load
}

async function main({ counter: name, url, load }: CountingScript): Promise<void> {
  process.stdout.write('ready\n')
  await once(process.stdin, 'data')
  process.stdin.destroy()
  const counter = COUNTERS[name](url)
  await counter.open()
  const report = await runLoad(counter, load)
  await counter.close()
  process.stdout.write(`${JSON.stringify(report)}\n`)
}

void main(JSON.parse(process.argv[2] ?? '') as CountingScript)
