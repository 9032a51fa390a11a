/** A process that is stopped and continued finds its pool as it was. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { eachDatabase } from '../support/each-database'
import { waitFor } from '../support/wait-for'

const STOPPED_MILLIS = 30_000

/** Holds a transaction over the stop, goes on with it, and tells what its pool has told. */
const SCRIPT = (url: string): string => `
  const { Database } = require('./src/database')
  const told = []
  const pool = { leakThresholdMillis: 2000, leakTimeoutMillis: 3000 }
  const database = new Database(${JSON.stringify(url)}, { pool })
  database.on('leak', ({ state }) => told.push(state))
  database.on('retire', ({ reason }) => told.push(reason))
  async function main() {
    await database.connect()
    await database.transaction(async (tx) => {
      const one = await tx.fetchVal('select 1')
      const continued = new Promise((resolve) => process.once('SIGUSR2', resolve))
      console.log('holding')
      await continued
      console.log('value', one + await tx.fetchVal('select 1'), 'told', JSON.stringify(told))
    })
    await database.disconnect()
  }
  const alive = setInterval(() => undefined, 1000)
  main().finally(() => clearInterval(alive))
`

eachDatabase('a process that was stopped', (context) => {
  it(
    'for thirty seconds, and continued, takes nothing for a leak, and loses no connection',
    async () => {
      const child = spawn(
        process.execPath,
        ['--require', 'esbuild-register', '--eval', SCRIPT(context.url)],
        {
          cwd: path.resolve(__dirname, '../..'),
          stdio: ['ignore', 'pipe', 'inherit'],
        },
      )
      let output = ''
      child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
      try {
        await waitFor(() => output.includes('holding'), { what: 'a transaction', timeoutMillis: 20_000 })
        child.kill('SIGSTOP')
        await delay(STOPPED_MILLIS)
        child.kill('SIGCONT')
        child.kill('SIGUSR2')
        await once(child, 'exit')
        expect(output).toContain('value 2 told []')
      } finally {
        child.kill('SIGKILL')
      }
    },
    STOPPED_MILLIS + 30_000,
  )
})
