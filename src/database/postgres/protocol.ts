/** Writes messages of PostgreSQL's extended query protocol: https://www.postgresql.org/docs/current/protocol-message-formats.html */
import { types } from 'node:util'
import pg from 'pg'

/** pg's function that writes a value as a parameter; pg's types leave it out. */
const { prepareValue } = (
  pg as unknown as { utils: { prepareValue(this: void, value: unknown): string | Buffer | null } }
).utils

/** Returns `name` as the protocol writes it, with a zero byte at its end. */
export function nameBytes(name: string): Buffer {
  return Buffer.from(`${name}\0`)
}

/** Parse: prepares a statement under a name, and lets the server infer the types of its parameters. */
export function parse(name: Buffer, sql: string): Buffer {
  const text = Buffer.from(`${sql}\0`)
  return message('P', name, text, Buffer.alloc(2))
}

/** Describe: asks for the columns of a statement. */
export function describeStatement(name: Buffer): Buffer {
  return message('D', STATEMENT, name)
}

/** Describe: asks for the columns of a cursor. */
export function describePortal(name: Buffer): Buffer {
  return message('D', PORTAL, name)
}

/** Execute and Sync: asks for the next rows of a cursor. */
export function executePortal(name: Buffer, maxRows: number): Buffer {
  const maxRowsBytes = Buffer.alloc(4)
  maxRowsBytes.writeInt32BE(maxRows)
  return Buffer.concat([message('E', name, maxRowsBytes), SYNC])
}

/** Close: deallocates a statement. It is no error if the statement does not exist. */
export function closeStatement(name: Buffer): Buffer {
  return message('C', STATEMENT, name)
}

const SYNC = message('S')

const STATEMENT = Buffer.from('S')
const PORTAL = Buffer.from('P')

function execute(maxRows: number): Buffer {
  const body = Buffer.alloc(5)
  body.writeInt32BE(maxRows, 1)
  return message('E', body)
}

const EXECUTE = { all: execute(0), one: execute(1) }
const EXECUTE_AND_SYNC = {
  all: Buffer.concat([EXECUTE.all, SYNC]),
  one: Buffer.concat([EXECUTE.one, SYNC]),
}

/**
 * Bind and Execute, and Sync if `isLast`: runs a prepared statement with values. Written by hand into one buffer, since
 * every query sends it.
 *
 * @throws what pg throws for a value that it cannot write
 */
export function bindAndExecute(
  name: Buffer,
  values: readonly unknown[],
  rows: 'all' | 'one',
  isLast: boolean,
): Buffer {
  const count = values.length
  const parameters: (string | Buffer | null)[] = []
  let size = 12 + name.length
  let isBinary = false
  for (let i = 0; i < count; i += 1) {
    const parameter = toParameter(values[i])
    parameters.push(parameter)
    size += 4
    if (typeof parameter === 'string') size += Buffer.byteLength(parameter)
    else if (parameter !== null) {
      size += parameter.length
      isBinary = true
    }
  }
  if (isBinary) size += 2 * count
  const end = (isLast ? EXECUTE_AND_SYNC : EXECUTE)[rows]
  const buffer = Buffer.allocUnsafe(size + end.length)
  buffer[0] = 66 // B
  buffer.writeInt32BE(size - 1, 1)
  buffer[5] = 0 // the portal without a name
  let at = 6 + name.copy(buffer, 6)
  // Bytes are sent as they are, and everything else as text.
  at = buffer.writeInt16BE(isBinary ? count : 0, at)
  if (isBinary)
    for (const parameter of parameters) at = buffer.writeInt16BE(Buffer.isBuffer(parameter) ? 1 : 0, at)
  at = buffer.writeInt16BE(count, at)
  for (const parameter of parameters) {
    if (parameter === null) {
      at = buffer.writeInt32BE(-1, at)
    } else {
      const start = at + 4
      const length =
        typeof parameter === 'string' ? buffer.write(parameter, start) : parameter.copy(buffer, start)
      buffer.writeInt32BE(length, at)
      at = start + length
    }
  }
  at = buffer.writeInt16BE(0, at) // every column as text
  end.copy(buffer, at)
  return buffer
}

/** CopyData: rows for a COPY. */
export function copyData(text: string): Buffer {
  return message('d', Buffer.from(text))
}

export const COPY_DONE = message('c')

/** Returns the value as it is sent: text, bytes, or null. */
export function toParameter(value: unknown): string | Buffer | null {
  if (typeof value === 'string') return value
  if (typeof value === 'number') return String(value)
  return Array.isArray(value) && value.length === 0 ? EMPTY_ARRAY : prepareValue(withOffsetSeconds(value))
}

/**
 * Returns a Date as text if its local time differs from UTC by a number of seconds that is not whole minutes, as before time
 * zones existed: pg writes local times and leaves out the seconds of the offset. Returns other values unchanged.
 */
function withOffsetSeconds(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withOffsetSeconds)
  if (!types.isDate(value) || pg.defaults.parseInputDatesAsUTC) return value
  if (Number.isNaN(value.getTime()) || value.getSeconds() === value.getUTCSeconds()) return value
  const local = new Date(0)
  local.setUTCFullYear(value.getFullYear(), value.getMonth(), value.getDate())
  local.setUTCHours(value.getHours(), value.getMinutes(), value.getSeconds(), value.getMilliseconds())
  const seconds = (local.getTime() - value.getTime()) / 1000
  const parts = [seconds / 3600, (seconds / 60) % 60, seconds % 60].map((part) =>
    String(Math.trunc(Math.abs(part))).padStart(2, '0'),
  )
  return String(prepareValue(value)).replace(
    /[+-]\d\d:\d\d(?= BC$|$)/,
    `${seconds < 0 ? '-' : '+'}${parts.join(':')}`,
  )
}

/**
 * pg writes an empty array as `{}`, which a JSON column would silently store as an empty object, though it refuses all
 * other arrays. A form feed is white space in an array's text and an error in JSON.
 */
const EMPTY_ARRAY = '\f{}'

function message(type: string, ...body: readonly Buffer[]): Buffer {
  const head = Buffer.alloc(5)
  head.write(type)
  head.writeInt32BE(4 + body.reduce((size, part) => size + part.length, 0), 1)
  return Buffer.concat([head, ...body])
}
