/**
 * Measures this service beside other ways to write it. Reports, and fails on errors only, never on times.
 *
 *     npm run bench                          everything
 *     npm run bench -- --quick               a few minutes
 *     npm run bench -- --stacks=service,N1,N5b --endpoints=user --concurrency=64 --rounds=5
 */
import { parseArgs } from 'node:util'
import { startPostgres } from '../test/support/postgres-server'
import { ENDPOINTS } from './http/endpoints'
import { checkMoney, prepare } from './http/prepare'
import { reportWindows } from './http/report'
import { measure, type Plan, type Window, warmUp } from './http/rounds'
import { checkAnswers } from './http/same-answers'
import { leaveTheServersAlone, PINNING, type Server, startServer } from './http/server-process'
import { STACKS } from './http/stacks'

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    stacks: { type: 'string' },
    endpoints: { type: 'string' },
    concurrency: { type: 'string' },
    rounds: { type: 'string' },
    window: { type: 'string' },
    'warm-up': { type: 'string' },
  },
})

function chosen<T extends { readonly id: string }>(all: readonly T[], ids: string | undefined): readonly T[] {
  if (ids === undefined) return all
  return ids.split(',').map((id) => {
    const found = all.find((one) => one.id === id)
    if (found === undefined)
      throw new Error(`there is no '${id}', only ${all.map((one) => one.id).join(', ')}`)
    return found
  })
}

function planOf(): Plan {
  const { quick } = options
  return {
    endpoints: chosen(ENDPOINTS, options.endpoints),
    concurrencies: (options.concurrency ?? (quick ? '64' : '1,16,64')).split(',').map(Number),
    rounds: Number(options.rounds ?? (quick ? 2 : 5)),
    windowMillis: 1000 * Number(options.window ?? (quick ? 1 : 3)),
    warmUpMillis: 1000 * Number(options['warm-up'] ?? (quick ? 5 : 15)),
  }
}

async function run(): Promise<void> {
  const plan = planOf()
  const stacks = chosen(STACKS, options.stacks)
  leaveTheServersAlone()
  const postgres = await startPostgres({ shared_buffers: '512MB' })
  const servers: Server[] = []
  try {
    const prepared = await prepare(postgres.url)
    console.log(`node ${process.version}, PostgreSQL ${prepared.version} (fsync off), ${PINNING}`)
    for (const stack of stacks) servers.push(await startServer(stack, prepared.environment))
    await checkAnswers(servers)
    await warmUp(servers, plan)
    const windows: Window[] = []
    for await (const window of measure(servers, plan, prepared)) {
      windows.push(window)
      const { stack, endpoint, concurrency, round, perSecond, serverMicros } = window
      console.error(
        `round ${round} ${endpoint} @ ${concurrency} ${stack}: ${perSecond.toFixed(0)}/s, ${serverMicros.toFixed(1)} µs`,
      )
    }
    await checkMoney(prepared.url)
    console.log(reportWindows(windows))
  } finally {
    await Promise.all(servers.map((server) => server.stop()))
    await postgres.stop()
  }
}

void run()
