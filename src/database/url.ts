/** The address of a database: parsed, changeable, and never printed with its password. */
import { isIPv6 } from 'node:net'
import { inspect } from 'node:util'
import { ConfigurationError } from './errors'

/** The parts of a DatabaseURL, percent-decoded. */
export interface URLParts {
  /** `postgresql` or `sqlite`. */
  dialect: string
  /** What follows the `+` in `postgresql+pg://` or `sqlite+appthreat://`, or an empty string. */
  driver: string
  username: string | null
  password: string | null
  hostname: string | null
  port: number | null
  /** The name of the database; for SQLite the file's path, or `:memory:`. */
  database: string
  options: Readonly<Record<string, string>>
}

const DIALECTS: Readonly<Record<string, string>> = {
  postgresql: 'postgresql',
  postgres: 'postgresql',
  sqlite: 'sqlite',
  sqlite3: 'sqlite',
}

const DRIVERS: Readonly<Record<string, readonly string[]>> = {
  postgresql: ['pg'],
  sqlite: ['sqlite3', 'appthreat'],
}

const URL_PATTERN =
  /^(?<scheme>[a-z][a-z0-9+.-]*):\/\/(?:(?<userinfo>[^@/?#]*)@)?(?<host>\[[^\]]*\]|[^:/?#@]*)(?::(?<port>[^/?#]*))?(?<path>\/[^?#]*)?(?:\?(?<query>[^#]*))?$/i

/**
 * The address of a database. As text, as JSON and in `console.log` it shows stars for the password; `href` has the
 * password in clear.
 *
 * SQLite takes a path after the third slash: `sqlite:///relative.db`, `sqlite:////absolute.db`; `sqlite://` and
 * `sqlite:///:memory:` are a database in memory.
 *
 * @throws ConfigurationError when the text is not the URL of a supported database
 * @example
 * const url = new DatabaseURL('postgresql://app:s3cret@db.example.org/shop')
 * url.replace({ database: 'shop_test' }).href // 'postgresql://app:s3cret@db.example.org/shop_test'
 * String(url) // 'postgresql://app:***@db.example.org/shop'
 */
export class DatabaseURL implements Readonly<URLParts> {
  readonly #parts: Readonly<URLParts>

  constructor(url: string | DatabaseURL) {
    if (url instanceof DatabaseURL) {
      this.#parts = url.#parts
    } else if (typeof url === 'string') {
      this.#parts = Object.freeze(parse(url))
    } else {
      throw new ConfigurationError(
        `A database URL is a string or a DatabaseURL, got ${url === null ? 'null' : typeof url}.`,
      )
    }
  }

  get dialect(): string {
    return this.#parts.dialect
  }
  get driver(): string {
    return this.#parts.driver
  }
  get username(): string | null {
    return this.#parts.username
  }
  get password(): string | null {
    return this.#parts.password
  }
  get hostname(): string | null {
    return this.#parts.hostname
  }
  get port(): number | null {
    return this.#parts.port
  }
  get database(): string {
    return this.#parts.database
  }
  get options(): Readonly<Record<string, string>> {
    return this.#parts.options
  }

  /** True for a SQLite database that lives in memory. */
  get isMemory(): boolean {
    return this.dialect === 'sqlite' && this.database === ':memory:'
  }

  /** The whole URL with its password in clear: for drivers, not for logs. */
  get href(): string {
    return print(this.#parts, this.#parts.password)
  }

  /**
   * Returns a copy with some parts changed. Values are given plain, and percent-encoded here; null removes a part.
   *
   * @throws ConfigurationError for an unknown part or a wrong value
   */
  replace(changes: Partial<URLParts>): DatabaseURL {
    if (typeof changes !== 'object' || changes === null) {
      throw new ConfigurationError(
        `replace() takes an object with the parts to change, got ${inspect(changes)}.`,
      )
    }
    const given = Object.entries(changes).filter(([, value]) => value !== undefined)
    for (const [name, value] of given) checkPart(name, value)
    const next = { ...this.#parts, ...Object.fromEntries(given) }
    // The parser checks the changed URL.
    return new DatabaseURL(print(next, next.password))
  }

  toString(): string {
    return print(this.#parts, this.#parts.password === null ? null : STARS)
  }
  toJSON(): string {
    return this.toString()
  }
  [inspect.custom](): string {
    return `DatabaseURL(${this.toString()})`
  }
}

/** Printed in place of a password, without percent-encoding. */
const STARS = '***'

/** The types that each part may have; the parser checks the syntax. */
const PARTS: Readonly<Record<keyof URLParts, readonly string[]>> = {
  dialect: ['string'],
  driver: ['string'],
  username: ['string', 'null'],
  password: ['string', 'null'],
  hostname: ['string', 'null'],
  port: ['number', 'null'],
  database: ['string'],
  options: ['object'],
}

function checkPart(name: string, value: unknown): void {
  const kinds = Object.hasOwn(PARTS, name) ? PARTS[name as keyof URLParts] : undefined
  if (kinds === undefined) {
    throw new ConfigurationError(
      `A database URL has no part '${name}'. Its parts are ${Object.keys(PARTS).join(', ')}.`,
    )
  }
  const kind = value === null ? 'null' : typeof value
  if (!kinds.includes(kind)) {
    throw new ConfigurationError(
      `The ${name} of a database URL is of type ${kinds.join(' or ')}, got ${kind}.`,
    )
  }
}

function parse(text: string): URLParts {
  const groups = URL_PATTERN.exec(text.trim())?.groups
  const [scheme = '', ...rest] = (groups?.scheme ?? '').toLowerCase().split('+')
  const driver = rest.join('+')
  const dialect = DIALECTS[scheme]
  if (!groups || dialect === undefined) {
    throw new ConfigurationError(
      `${groups ? `A database URL cannot start with '${scheme}://'.` : 'That is not a database URL.'} ` +
        `Write postgresql://user:password@host:5432/name, sqlite:///relative.db, sqlite:////absolute.db or sqlite:// (in memory).`,
    )
  }
  // Exactly one '@' ends the user info. With an '@' elsewhere, another part holds a piece of the password, and no error
  // may quote it.
  const signs = text.split('@').length - 1
  if (dialect !== 'sqlite' && (signs > 1 || (signs === 1 && groups.userinfo === undefined))) {
    throw new ConfigurationError(
      "The database URL holds an '@' in the wrong place. In a user name or password write @ as %40, / as %2F, ? as %3F and # as %23.",
    )
  }
  const drivers = DRIVERS[dialect] ?? []
  if (driver !== '' && !drivers.includes(driver)) {
    const forms = drivers.map((name) => `${dialect}+${name}://…`)
    throw new ConfigurationError(
      `There is no driver '${driver}' for ${dialect}. Write ${[`${dialect}://…`, ...forms].join(' or ')}.`,
    )
  }
  const [username, password] = splitOnce(groups.userinfo, ':')
  const options = parseOptions(groups.query)
  const path = decode(groups.path?.slice(1) ?? '', 'database')
  const host = groups.host === undefined || groups.host === '' ? null : groups.host.replace(/^\[|\]$/g, '')
  if (dialect === 'sqlite' && (host !== null || username !== null || groups.port !== undefined)) {
    throw new ConfigurationError(
      'A SQLite URL has no host: write sqlite:///relative.db (three slashes), sqlite:////absolute.db (four) or sqlite:// (in memory).',
    )
  }
  if (host?.includes(':') === true && !isIPv6(host)) {
    throw new ConfigurationError(
      `'${host}' is neither a host name nor an IPv6 address. The port is a part of its own.`,
    )
  }
  return {
    dialect,
    driver,
    username: username === null ? null : decode(username, 'username'),
    password: password === null ? null : decode(password, 'password'),
    hostname: host === null ? null : decode(host, 'hostname'),
    port: parsePort(groups.port),
    database: dialect === 'sqlite' && path === '' ? ':memory:' : path,
    options,
  }
}

function parsePort(text: string | undefined): number | null {
  if (text === undefined || text === '') return null
  const port = Number(text)
  if (!/^\d+$/.test(text) || port < 1 || port > 65_535) {
    throw new ConfigurationError(`The port of a database URL is a number from 1 to 65535, got '${text}'.`)
  }
  return port
}

function parseOptions(query: string | undefined): Record<string, string> {
  // Without a prototype, so that `constructor` can be the name of an option.
  const options = Object.create(null) as Record<string, string>
  for (const pair of (query ?? '').split('&').filter((part) => part !== '')) {
    const [name, value] = splitOnce(pair, '=')
    const key = decode(name ?? '', 'option')
    if (key in options) throw new ConfigurationError(`The database URL gives its option '${key}' twice.`)
    options[key] = decode((value ?? '').replaceAll('+', ' '), `option '${key}'`)
  }
  return options
}

function splitOnce(text: string | undefined, separator: string): [string | null, string | null] {
  if (text === undefined || text === '') return [null, null]
  const at = text.indexOf(separator)
  return at < 0 ? [text, null] : [text.slice(0, at), text.slice(at + 1)]
}

function decode(text: string, part: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new ConfigurationError(
      `The ${part} of the database URL holds a '%' that starts no percent-code. Write a plain '%' as %25.`,
    )
  }
}

function print(parts: URLParts, password: string | null): string {
  const scheme = parts.driver === '' ? parts.dialect : `${parts.dialect}+${parts.driver}`
  const secret = password === null ? '' : `:${password === STARS ? STARS : encodeURIComponent(password)}`
  const user =
    parts.username === null && password === null
      ? ''
      : `${encodeURIComponent(parts.username ?? '')}${secret}@`
  const host =
    parts.hostname === null
      ? ''
      : parts.hostname.includes(':')
        ? `[${parts.hostname}]`
        : encodeURIComponent(parts.hostname)
  const port = parts.port === null ? '' : `:${parts.port}`
  // A path keeps its slashes, and `:memory:` its colons.
  const path = encodeURIComponent(parts.database).replaceAll('%2F', '/').replaceAll('%3A', ':')
  const query = Object.entries(parts.options).map(
    ([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`,
  )
  return `${scheme}://${user}${host}${port}/${path}${query.length > 0 ? `?${query.join('&')}` : ''}`
}
