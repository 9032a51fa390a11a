/**
 * What it brings, by version of Node, that `serve()` makes requests and responses of classes of its own instead of having
 * Express change their prototypes: processor time of Express with one endpoint and no database, 64 requests at a time.
 *
 *     npm run bench:nodes
 *
 * Fetches those versions from npm. Reports, and asserts nothing.
 */
import { execFileSync } from 'node:child_process'
import path from 'node:path'
import { ENDPOINTS } from './http/endpoints'
import { load } from './http/load'
import { cpuMicros } from './http/process-usage'
import { type Server, startServer } from './http/server-process'
import { programOf } from './node-release'
import { leaveTheFirstProcessor } from './processors'
import { table } from './table'

const VERSIONS = ['20', '22', '24']
const WAYS = ['plain', 'classes'] as const
const ROUNDS = 5
const WARM_UP_MILLIS = 10_000
const WINDOW_MILLIS = 2000

const next = (ENDPOINTS[0] as (typeof ENDPOINTS)[number]).requests(Math.random)

/** Server CPU for one request, in microseconds. */
async function measured({ port, pid }: Server): Promise<number> {
  let before = 0
  let after = 0
  const { answers } = await load(
    { port, concurrency: 64, millis: WINDOW_MILLIS, next },
    () => (before = cpuMicros(pid)),
    () => (after = cpuMicros(pid)),
  )
  return (after - before) / answers
}

async function run(): Promise<void> {
  leaveTheFirstProcessor()
  const rows: string[][] = []
  for (const version of VERSIONS) {
    const program = programOf(version)
    const servers: Server[] = []
    try {
      for (const way of WAYS) {
        const command = [program, path.join(__dirname, 'http', 'one-endpoint.js'), way]
        servers.push(await startServer({ id: way, title: way, command }, {}))
      }
      for (const { port } of servers) await load({ port, concurrency: 64, millis: WARM_UP_MILLIS, next })
      const least = servers.map(() => Infinity)
      for (let round = 0; round < ROUNDS; round += 1) {
        for (const [at, server] of servers.entries()) {
          least[at] = Math.min(least[at] ?? Infinity, await measured(server))
        }
      }
      const [plain = NaN, classes = NaN] = least
      const name = execFileSync(program, ['--version'], { encoding: 'utf8' }).trim()
      rows.push([name, plain.toFixed(0), classes.toFixed(0), (plain / classes).toFixed(1)])
    } finally {
      await Promise.all(servers.map((server) => server.stop()))
    }
  }
  console.log(table(['Node', 'plain, CPU µs least', 'with the classes', 'times'], rows))
}

void run()
