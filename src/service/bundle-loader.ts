/**
 * The service in one file, as `build/bundle.mjs` makes it: a thousand files take longer to be found, read and compiled than
 * all else at the start takes.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { Script } from 'node:vm'
import { crc32 } from 'node:zlib'

/** Beside this file, so that what lies beside the service's files is found from here as well. */
export const BUNDLE = path.join(__dirname, 'bundle.js')

/** What V8 has made of it, sealed. Another version of Node, or other flags, refuse it and compile anew. */
export const COMPILED = `${BUNDLE}.compiled`

/** The names of the sources, as JSON; and where each of their lines begins in it, as numbers. */
export const SOURCES = `${BUNDLE}.sources`
export const PLACES = `${BUNDLE}.places`

/** Reads it, with what was compiled of it if there is such a thing. Returns null if it is missing or damaged. */
export function read(): Script | null {
  // It is ASCII, of which this makes a string of one byte for each character.
  const source = readIfThere(BUNDLE)?.toString('latin1') ?? ''
  const code = source.slice(0, -TRAILER)
  const sum = crc32(code)
  if (source.slice(-TRAILER) !== trailerOf(sum)) return null
  const cachedData = unsealed(readIfThere(COMPILED), sum)
  return new Script(`(function (require, __dirname, __filename) {${source}\n})`, {
    filename: BUNDLE,
    ...(cachedData && { cachedData }),
  })
}

/** The last line of the bundle: the checksum of all before it. */
export function trailerOf(sum: number): string {
  return `\n//${sum.toString(16).padStart(8, '0')}\n`
}

const TRAILER = trailerOf(0).length

/** Checksums in front of it: its own, and that of the bundle. V8 believes what it finds, and dies of what is damaged. */
const SEAL = 8

export function seal(compiled: Buffer, sum: number): Buffer {
  const sums = Buffer.alloc(SEAL)
  sums.writeUInt32LE(crc32(compiled))
  sums.writeUInt32LE(sum, 4)
  return Buffer.concat([sums, compiled])
}

function unsealed(sealed: Buffer | null, sum: number): Buffer | null {
  if (sealed === null || sealed.length <= SEAL) return null
  const compiled = sealed.subarray(SEAL)
  const isWhole = sealed.readUInt32LE() === crc32(compiled) && sealed.readUInt32LE(4) === sum
  return isWhole ? compiled : null
}

/** Starts the service. */
export function run(script: Script): void {
  Error.prepareStackTrace = inSources
  const start = script.runInThisContext() as (...given: [NodeJS.Require, string, string]) => void
  start(createRequire(BUNDLE), __dirname, BUNDLE)
}

/** Its types leave out how V8 writes it. */
type Call = NodeJS.CallSite & { toString(): string }

/** Writes a stack with the places of the sources. Node's own way would read a map at each start. */
function inSources(error: Error, calls: readonly Call[]): string {
  return [Error.prototype.toString.call(error), ...calls.map((call) => `    at ${placeOf(call)}`)].join('\n')
}

function placeOf(call: Call): string {
  const text = call.toString()
  const [line, column] = [call.getLineNumber(), call.getColumnNumber()]
  if (call.getFileName() !== BUNDLE || line === null || column === null) return text
  const place = placeInSources(line - 1, column - 1)
  return place === null ? text : text.replace(`${BUNDLE}:${line}:${column}`, () => place)
}

interface Places {
  readonly sources: readonly string[]
  /** In their order in the bundle, five numbers each: line and column there; source, line and column in it. All from 0. */
  readonly table: Int32Array
}

const NUMBERS = 5

let places: Places | undefined

function placeInSources(line: number, column: number): string | null {
  const { sources, table } = (places ??= readPlaces())
  const number = (row: number, at: number): number => table[row * NUMBERS + at] ?? -1
  // The first one that lies behind it.
  let [low, high] = [0, table.length / NUMBERS]
  while (low < high) {
    const middle = (low + high) >>> 1
    const isBehind = number(middle, 0) === line ? number(middle, 1) > column : number(middle, 0) > line
    if (isBehind) high = middle
    else low = middle + 1
  }
  const row = low - 1
  const file = sources[number(row, 2)]
  if (number(row, 0) !== line || file === undefined) return null
  return `${path.resolve(__dirname, file)}:${number(row, 3) + 1}:${number(row, 4) + 1}`
}

/** Without the files, places are those in the bundle: whoever asks for a stack has trouble enough. */
function readPlaces(): Places {
  try {
    const sources: unknown = JSON.parse(readFileSync(SOURCES, 'utf8'))
    const { buffer, byteOffset, byteLength } = readFileSync(PLACES)
    if (Array.isArray(sources)) return { sources, table: new Int32Array(buffer, byteOffset, byteLength / 4) }
  } catch {
    // Missing or damaged.
  }
  return { sources: [], table: new Int32Array() }
}

function readIfThere(file: string): Buffer | null {
  try {
    return readFileSync(file)
  } catch {
    return null
  }
}
