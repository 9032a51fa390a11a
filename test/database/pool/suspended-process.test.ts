/** A process that is stopped by SIGSTOP and continued keeps its pool. */
import { setTimeout as delay } from 'node:timers/promises'
import { rounds } from '../../support/rounds'
import { scratches } from '../../support/each-database'
import { ScriptProcess } from '../../support/faults/script-process'
import { leftBehind, standingCheck } from '../../support/standing-check'

const STOPPED_MILLIS = rounds(5_000, 30_000)

describe(`a process that was stopped for ${STOPPED_MILLIS / 1000} seconds, and continued,`, () => {
  standingCheck()
  const all = scratches(process.env['TEST_DATABASE_URLS'] ?? '')
  const urls: string[] = []
  const scripts: ScriptProcess[] = []

  // One on each database, all stopped at the same time.
  beforeAll(async () => {
    for (const scratch of all) {
      const url = await scratch.create()
      const script = new ScriptProcess('holding-script.ts', url)
      urls.push(url)
      scripts.push(script)
      expect(await script.line(0)).toBe('holding')
      script.signal('SIGSTOP')
    }
    await delay(STOPPED_MILLIS)
    for (const script of scripts) {
      script.signal('SIGCONT')
      script.tell('go on')
    }
  }, STOPPED_MILLIS + 60_000)
  afterAll(async () => {
    for (const script of scripts) await script[Symbol.asyncDispose]()
    for (const scratch of all) await scratch.dropAll()
  })

  it.each(all.map(({ title }, index) => [title, index] as const))(
    'reports no leak, and loses no connection, on %s',
    async (_title, index) => {
      const script = scripts[index] as ScriptProcess
      expect([await script.ended(), script.complaints]).toEqual([0, ''])
      expect(JSON.parse(script.lines[1] ?? '')).toEqual({ sum: 2, told: [] })
      const scratch = all[index] as (typeof all)[number]
      expect(await leftBehind({ scratch, urls: [urls[index] ?? ''], databases: [] })).toEqual([])
    },
  )
})
