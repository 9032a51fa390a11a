/** The rules of the source tree: which folder may import which, which files read the environment, the form of a file. */
import path from 'node:path'
import { type Import, type SourceFile, parseSource } from './source-file'

/** Source texts by path from the project's root, with forward slashes: `src/database/url.ts`. */
export type Sources = ReadonlyMap<string, string>

/** For each layer of `src/`, the layers whose `index.ts` it may import. */
const ARROWS: Readonly<Record<string, readonly string[]>> = {
  database: [],
  express: ['database'],
  testing: ['database'],
  cli: ['database'],
  service: ['express', 'database'],
}

/**
 * For each folder of `src/database/`, the folders whose files it may import. Files beside `index.ts` are `root`, but for those
 * that lie under all: `base`. An event is told outside of its caller's scope, so that `events.ts` knows what a scope is.
 */
const FOLDERS: Readonly<Record<string, readonly string[]>> = {
  root: ['transaction', 'query', 'pool', 'sql', 'driver', 'context', 'base', 'knex'],
  transaction: ['query', 'pool', 'sql', 'driver', 'context', 'base'],
  query: ['pool', 'sql', 'driver', 'context', 'base'],
  knex: ['pool', 'sql', 'driver', 'context', 'base'],
  pool: ['driver', 'context', 'base'],
  postgres: ['sql', 'driver', 'context', 'base'],
  sqlite: ['sql', 'driver', 'context', 'base'],
  sql: ['driver', 'context', 'base'],
  driver: ['context', 'base'],
  context: ['base'],
  base: [],
}
const BASE = ['errors.ts', 'options.ts', 'url.ts', 'url-parameters.ts', 'events.ts', 'observer.ts']
const EXCEPTIONS = ['src/database/events.ts -> src/database/context/scope.ts']
/** It puts a dialect, a Knex instance and a pool together. */
const ASSEMBLER = 'src/database/create-backend.ts'

/** Where values of which packages may be imported. */
const OWNERS: readonly (readonly [RegExp, readonly string[]])[] = [
  [/^tarn(\/|$)/, ['src/database/pool/']],
  [
    /^knex(\/|$)/,
    [
      'src/database/knex/',
      'src/database/sqlite/compiling-client.ts',
      'src/database/postgres/client.ts',
      'src/database/pool/tarn-pool.ts',
    ],
  ],
  [/^pg(-[\w-]+)?(\/|$)/, ['src/database/postgres/']],
  [/^(sqlite3|@appthreat\/sqlite3|better-sqlite3)(\/|$)/, ['src/database/sqlite/']],
]
const WEB_FRAMEWORKS =
  /^(express|express-[\w-]+|body-parser|helmet|koa|fastify|hono|@hapi\/hapi|@nestjs\/[\w-]+)(\/|$)/
const ENVIRONMENT_READERS = ['src/service/config.ts', 'src/service/main.ts', 'src/cli/main.ts']
const NAMES_THAT_SAY_NOTHING = ['types.ts', 'utils.ts', 'helpers.ts']
const MOST_LINES = 400

/** Checks every rule and returns one line for each violation. */
export function violations(sources: Sources): string[] {
  const parsed = new Map([...sources].map(([file, text]) => [file, parseSource(text)]))
  return [
    ...[...sources].flatMap(([file, text]) => shape(file, text)),
    ...[...parsed].flatMap(([file, source]) => arrows(file, source, sources)),
    ...circles(parsed),
  ]
}

function shape(file: string, text: string): string[] {
  const found: string[] = []
  const code = text.replace(/^#!.*\n/, '').trimStart()
  if (!code.startsWith('//') && !code.startsWith('/*')) found.push(`${file} does not begin with a comment`)
  const lines = text.trimEnd().split('\n').length
  if (lines > MOST_LINES) found.push(`${file} has ${lines} lines, more than ${MOST_LINES}`)
  if (NAMES_THAT_SAY_NOTHING.includes(path.posix.basename(file)))
    found.push(`${file} has a name that says nothing`)
  return found
}

function arrows(file: string, source: SourceFile, sources: Sources): string[] {
  const found = source.imports.flatMap((one) =>
    one.from.startsWith('.') ? localImport(file, one, sources) : packageImport(file, one),
  )
  if (source.readsEnvironment && !ENVIRONMENT_READERS.includes(file)) found.push(`${file} reads process.env`)
  return found
}

function packageImport(file: string, { from, typeOnly }: Import): string[] {
  const [, owners] = OWNERS.find(([pattern]) => pattern.test(from)) ?? []
  if (owners !== undefined && !typeOnly && !owners.some((owner) => file.startsWith(owner))) {
    return [`${file} imports ${from} as a value outside of ${owners.join(' and ')}`]
  }
  if (WEB_FRAMEWORKS.test(from) && layerOf(file) === 'database')
    return [`${file} imports the web framework ${from}`]
  return []
}

function localImport(file: string, { from }: Import, sources: Sources): string[] {
  const target = resolve(file, from, sources)
  if (target === undefined) return [`${file} imports ${from}, which is not there`]
  if (!target.startsWith('src/'))
    return target.endsWith('.json') ? [] : [`${file} imports ${target}, outside of src/`]
  const [layer, other] = [layerOf(file), layerOf(target)]
  if (layer === other) return layer === 'database' ? folderImport(file, target) : []
  if (!ARROWS[layer]?.includes(other)) return [`${file} imports ${target}: ${layer} may not know ${other}`]
  return target === `src/${other}/index.ts`
    ? []
    : [`${file} imports ${target}, not through src/${other}/index.ts`]
}

function folderImport(file: string, target: string): string[] {
  const [folder, other] = [folderOf(file), folderOf(target)]
  if (folder === other || FOLDERS[folder]?.includes(other) || EXCEPTIONS.includes(`${file} -> ${target}`))
    return []
  if (file === ASSEMBLER) return []
  return [`${file} imports ${target}: ${folder} may not know ${other}`]
}

function folderOf(file: string): string {
  const [, , folder = '', ...rest] = file.split('/')
  return rest.length > 0 ? folder : BASE.includes(folder) ? 'base' : 'root'
}

/** The longest chain of imports that begins at a file, which a reader may have to follow. Assumes that there are no circles. */
export function longestChain(sources: Sources, start: string): string[] {
  const parsed = new Map([...sources].map(([file, text]) => [file, parseSource(text)]))
  const known = new Map<string, string[]>()
  const chainOf = (file: string): string[] => {
    const chain = known.get(file)
    if (chain !== undefined) return chain
    const targets = (parsed.get(file)?.imports ?? []).flatMap(({ from }) =>
      from.startsWith('.') ? (resolve(file, from, sources) ?? []) : [],
    )
    const chains = targets.filter((target) => sources.has(target)).map(chainOf)
    const longest = chains.reduce((one, other) => (other.length > one.length ? other : one), [])
    known.set(file, [file, ...longest])
    return [file, ...longest]
  }
  return chainOf(start)
}

function layerOf(file: string): string {
  return file.split('/')[1] ?? ''
}

function resolve(file: string, from: string, sources: Sources): string | undefined {
  const target = path.posix.join(path.posix.dirname(file), from.replace(/\.js$/, ''))
  if (!target.startsWith('src/')) return target
  return [target, `${target}.ts`, `${target}/index.ts`].find((candidate) => sources.has(candidate))
}

/** One line for each circle of imports, type imports included, each shown at its shortest. */
function circles(parsed: ReadonlyMap<string, SourceFile>): string[] {
  const sources = new Map([...parsed.keys()].map((file) => [file, '']))
  const targets = (file: string): string[] =>
    (parsed.get(file)?.imports ?? [])
      .filter(({ from }) => from.startsWith('.'))
      .flatMap(({ from }) => resolve(file, from, sources) ?? [])
      .filter((target) => parsed.has(target))

  const known = new Set<string>()
  return [...parsed.keys()].toSorted().flatMap((file) => {
    const circle = wayBack(file, targets)
    if (!circle) return []
    const members = circle.toSorted().join()
    if (known.has(members)) return []
    known.add(members)
    return [`a circle of imports: ${[...circle, file].join(' -> ')}`]
  })
}

/** The files on the shortest way from `start` back to itself, beginning with `start`; breadth first. */
function wayBack(start: string, targets: (file: string) => string[]): string[] | undefined {
  const seen = new Set<string>()
  let ways = [[start]]
  while (ways.length > 0) {
    const longer: string[][] = []
    for (const way of ways) {
      for (const target of targets(way.at(-1) ?? start)) {
        if (target === start) return way
        if (seen.has(target)) continue
        seen.add(target)
        longer.push([...way, target])
      }
    }
    ways = longer
  }
  return undefined
}
