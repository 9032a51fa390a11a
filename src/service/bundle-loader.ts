/**
 * Loads the service from the one file that `build/bundle.mjs` makes: finding, reading and compiling a thousand files takes
 * longer than the rest of the start.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { Script } from 'node:vm'
import { crc32 } from 'node:zlib'

/** The bundle, beside this file, so that files beside the service's own are found from here as well. */
export const BUNDLE = path.join(__dirname, 'bundle.js')

/** V8's code cache for the bundle, with checksums. V8 rejects it in another version of Node or with other flags. */
export const COMPILED = `${BUNDLE}.compiled`

/** The source map: the names of the sources as JSON, and the positions as numbers. */
export const SOURCES = `${BUNDLE}.sources`
export const PLACES = `${BUNDLE}.places`

/** Reads the bundle, with its code cache if that is intact. Returns null if the bundle is missing or damaged. */
export function read(): Script | null {
  // The bundle is ASCII, and latin1 makes a string of one byte per character.
  const source = readIfExists(BUNDLE)?.toString('latin1') ?? ''
  const code = source.slice(0, -TRAILER)
  const sum = crc32(code)
  if (source.slice(-TRAILER) !== trailerOf(sum)) return null
  const cachedData = verified(readIfExists(COMPILED), sum)
  return new Script(`(function (require, __dirname, __filename) {${source}\n})`, {
    filename: BUNDLE,
    ...(cachedData && { cachedData }),
  })
}

/** Returns the last line of the bundle: the checksum of everything before it. */
export function trailerOf(sum: number): string {
  return `\n//${sum.toString(16).padStart(8, '0')}\n`
}

const TRAILER = trailerOf(0).length

/** Bytes of the two checksums in front of the code cache. */
const CHECKSUM_BYTES = 8

/** Puts the checksums of the code cache and of its bundle in front of it. V8 does not check, and crashes on a damaged cache. */
export function seal(compiled: Buffer, sum: number): Buffer {
  const sums = Buffer.alloc(CHECKSUM_BYTES)
  sums.writeUInt32LE(crc32(compiled))
  sums.writeUInt32LE(sum, 4)
  return Buffer.concat([sums, compiled])
}

function verified(sealed: Buffer | null, sum: number): Buffer | null {
  if (sealed === null || sealed.length <= CHECKSUM_BYTES) return null
  const compiled = sealed.subarray(CHECKSUM_BYTES)
  const isWhole = sealed.readUInt32LE() === crc32(compiled) && sealed.readUInt32LE(4) === sum
  return isWhole ? compiled : null
}

/** Starts the service. */
export function run(script: Script): void {
  Error.prepareStackTrace = formatStack
  const start = script.runInThisContext() as (...given: [NodeJS.Require, string, string]) => void
  start(createRequire(BUNDLE), __dirname, BUNDLE)
}

/** V8's CallSite; its types leave out `toString`. */
type Call = NodeJS.CallSite & { toString(): string }

/** Formats a stack with positions in the sources. Node's own source maps would be read at each start, not at the first error. */
function formatStack(error: Error, calls: readonly Call[]): string {
  return [Error.prototype.toString.call(error), ...calls.map((call) => `    at ${positionOf(call)}`)].join(
    '\n',
  )
}

function positionOf(call: Call): string {
  const text = call.toString()
  const [line, column] = [call.getLineNumber(), call.getColumnNumber()]
  if (call.getFileName() !== BUNDLE || line === null || column === null) return text
  const place = positionInSources(line - 1, column - 1)
  return place === null ? text : text.replace(`${BUNDLE}:${line}:${column}`, () => place)
}

interface SourcePositions {
  readonly sources: readonly string[]
  /** Five numbers per position, in the order of the bundle: its line and column; the source, its line and column. All from 0. */
  readonly table: Int32Array
}

const NUMBERS_PER_POSITION = 5

let places: SourcePositions | undefined

function positionInSources(line: number, column: number): string | null {
  const { sources, table } = (places ??= readPositions())
  const number = (row: number, at: number): number => table[row * NUMBERS_PER_POSITION + at] ?? -1
  // Searches for the first position behind this one.
  let [low, high] = [0, table.length / NUMBERS_PER_POSITION]
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

/** Reads the source map. If its files are missing or damaged, stacks have positions in the bundle, but no second error. */
function readPositions(): SourcePositions {
  try {
    const sources: unknown = JSON.parse(readFileSync(SOURCES, 'utf8'))
    const { buffer, byteOffset, byteLength } = readFileSync(PLACES)
    if (Array.isArray(sources)) return { sources, table: new Int32Array(buffer, byteOffset, byteLength / 4) }
  } catch {
    // Missing or damaged.
  }
  return { sources: [], table: new Int32Array() }
}

function readIfExists(file: string): Buffer | null {
  try {
    return readFileSync(file)
  } catch {
    return null
  }
}
