/** The way from a query method to the driver is short: how many files of the library a debugger would step through. */
import { execFile } from 'node:child_process'
import path from 'node:path'
import { promisify } from 'node:util'
import { toRun } from '../support/compiled'
import { eachDatabase } from '../support/each-database'

const SCRIPT = path.resolve(__dirname, '../support/files-passed.ts')
/** To be lowered where the way gets shorter, and never raised without a reason. */
const MOST = { query: 24, transaction: 35 }

eachDatabase('the library', (context) => {
  it('runs a query and a transaction through a bounded number of its files', async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [...toRun(SCRIPT), context.url])
    const { query, transaction } = JSON.parse(stdout) as Record<'query' | 'transaction', string[]>
    expect(query).toContain(path.join('pool', 'lease.js'))
    expect(query.length).toBeLessThanOrEqual(MOST.query)
    expect(transaction.length).toBeLessThanOrEqual(MOST.transaction)
  })
})
