/**
 * Puts the service and its packages into one file, starts it once, and keeps what V8 compiles meanwhile.
 *
 *     node <the flags of the start> build/bundle.mjs [dist]
 */
import { once } from 'node:events'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { crc32 } from 'node:zlib'
import { decode } from '@jridgewell/sourcemap-codec'
import { build } from 'esbuild'

/** Those that Knex would load for databases that the service does not know. */
const OTHER_DRIVERS = [
  'better-sqlite3',
  'mariadb',
  'mysql',
  'mysql2',
  'oracledb',
  'pg-query-stream',
  'tedious',
]

const root = path.resolve(import.meta.dirname, '..')
const service = path.resolve(process.argv[2] ?? path.join(root, 'dist'), 'src', 'service')
/** Far longer than it takes, on whatever machine. */
const LONGEST_START_MILLIS = 60_000

const { BUNDLE, COMPILED, PLACES, SOURCES, read, run, seal, trailerOf } = createRequire(import.meta.url)(
  path.join(service, 'bundle-loader.js'),
)

/** What lies beside a file is beside where tsc puts that file. */
const places = {
  name: 'places',
  setup: ({ onLoad }) =>
    onLoad({ filter: /[\\/]src[\\/](?:database|express)[\\/].*\.ts$/ }, async ({ path: file }) => {
      const folder = path.relative(path.join(root, 'src', 'service'), path.dirname(file))
      const contents = await readFile(file, 'utf8')
      return {
        contents: contents.replaceAll('__dirname', `(__dirname + ${JSON.stringify(`/${folder}`)})`),
        loader: 'ts',
      }
    }),
}

const { outputFiles } = await build({
  entryPoints: [path.join(root, 'src', 'service', 'main.ts')],
  outfile: BUNDLE,
  write: false,
  bundle: true,
  platform: 'node',
  target: 'node20',
  // Read as one byte for each character.
  charset: 'ascii',
  legalComments: 'none',
  minifyWhitespace: true,
  sourcemap: 'external',
  sourcesContent: false,
  // import() would need a loader of modules of its own.
  supported: { 'dynamic-import': false },
  // pg asks where it runs, and Node 20 would load its whole fetch() to answer that.
  define: { navigator: '{"userAgent":"Node.js"}' },
  // Native, or not installed everywhere: looked for when it starts.
  external: [
    'sqlite3',
    '@appthreat/sqlite3',
    'pino-pretty',
    'swagger-ui-dist',
    'pg-native',
    ...OTHER_DRIVERS,
  ],
  plugins: [places],
  absWorkingDir: root,
})

const [map, code] = outputFiles.toSorted((one, other) => other.path.length - one.path.length)
// What was compiled of another one must not be found beside it.
await rm(COMPILED, { force: true })
// It is read so, and esbuild leaves regular expressions as they are.
if (code.contents.some((byte) => byte > 127))
  throw new Error('The bundle is not ASCII: write \\u… in regular expressions.')
const sum = crc32(code.contents)
await writeFile(BUNDLE, [code.contents, trailerOf(sum)])
const { sources, mappings } = JSON.parse(map.text)
await writeFile(SOURCES, JSON.stringify(sources))
await writeFile(PLACES, placesOf(mappings))
const script = read()
const port = await freePort()
// Away from any `.env`.
process.chdir(tmpdir())
Object.assign(process.env, {
  NODE_ENV: 'production',
  DATABASE_URL: 'sqlite://',
  PRODUCTS_DATABASE_URL: 'sqlite://',
  MIGRATE_ON_START: 'true',
  HOST: '127.0.0.1',
  PORT: port,
  ADMIN_PORT: '0',
  LOG_LEVEL: 'silent',
})
run(script)
const deadline = Date.now() + LONGEST_START_MILLIS
while (!(await answers())) {
  if (Date.now() > deadline) throw new Error(`The service did not answer within ${LONGEST_START_MILLIS} ms.`)
  await sleep(10)
}
await writeFile(COMPILED, seal(script.createCachedData(), sum))
process.exit()

/** Where each line of the sources begins. A map of every word would be long to read, and large. */
function placesOf(mappings) {
  const places = decode(mappings).flatMap((segments, line) =>
    segments
      .filter(
        ([, source, at], index) => source !== segments[index - 1]?.[1] || at !== segments[index - 1]?.[2],
      )
      .map(([column, source, at, sourceColumn]) => [line, column, source, at, sourceColumn]),
  )
  return Int32Array.from(places.flat())
}

async function answers() {
  const answer = await fetch(`http://127.0.0.1:${port}/users/1`).catch(() => null)
  return answer?.ok ?? false
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port: free } = server.address()
  server.close()
  await once(server, 'close')
  return String(free)
}
