/** A million rows pass through iterate() in flat memory. */
import { execFile } from 'node:child_process'
import path from 'node:path'
import { promisify } from 'node:util'
import { rounds } from '../../support/rounds'
import { toRun } from '../../support/compiled'
import { eachDatabase } from '../../support/each-database'

const ROWS = rounds(300_000, 1_000_000)
const READER = path.resolve(__dirname, '../../support/stream-rows.ts')

eachDatabase('a long stream', (context) => {
  it('takes less than 30 MB of extra memory for a million rows', async () => {
    const args = ['--expose-gc', ...toRun(READER), context.url, String(ROWS)]
    const { stdout } = await promisify(execFile)(process.execPath, args)
    const { count, extraMegabytes } = JSON.parse(stdout) as { count: number; extraMegabytes: number }
    expect(count).toBe(ROWS)
    expect(extraMegabytes).toBeLessThan(30)
  }, 240_000)
})
