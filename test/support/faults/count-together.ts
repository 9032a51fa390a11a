/** Several processes that count in one file at the same time, and what has become of the file. */
import type { Load, LoadReport } from './counting-load'
import { type CounterName, COUNTERS } from './counters'
import type { CountingScript } from './counting-script'
import { ScriptProcess } from './script-process'

export interface Together {
  readonly counter: CounterName
  /** Of a file that does not exist yet. */
  readonly url: string
  readonly processes: number
  readonly load: Omit<Load, 'name'>
}

/** Resolves to what each process has to say. */
export async function countTogether({ counter, url, processes, load }: Together): Promise<LoadReport[]> {
  await COUNTERS[counter](url).create()
  const scripts = Array.from({ length: processes }, (_, index) => {
    const argument: CountingScript = { counter, url, load: { ...load, name: `p${index + 1}` } }
    return new ScriptProcess('counting-script.ts', argument)
  })
  try {
    await Promise.all(scripts.map((script) => script.line(0)))
    for (const script of scripts) script.tell('go')
    const lines = await Promise.all(scripts.map((script) => script.line(1, load.millis + 120_000)))
    await Promise.all(scripts.map((script) => script.ended()))
    return lines.map((line) => JSON.parse(line) as LoadReport)
  } finally {
    await Promise.all(scripts.map((script) => script[Symbol.asyncDispose]()))
  }
}
