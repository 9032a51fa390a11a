/** DatabaseURL: parsed, changed by replace(), and printed without its password. */
import { inspect } from 'node:util'
import { ConfigurationError, DatabaseURL, knexConfig, type URLParts } from '../../src/database'

const refusal = (url: string): string => {
  try {
    return `accepted as ${new DatabaseURL(url).href}`
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error
    return error.message
  }
}

describe('parsing a database URL', () => {
  it('reads the parts of a PostgreSQL URL', () => {
    const url = new DatabaseURL('postgresql://app:s3cret@db.example.org:6432/shop?application_name=web')
    expect({ ...partsOf(url) }).toEqual({
      dialect: 'postgresql',
      driver: '',
      username: 'app',
      password: 's3cret',
      hostname: 'db.example.org',
      port: 6432,
      database: 'shop',
      options: { application_name: 'web' },
    })
  })

  it('reads postgres:// as postgresql://, and the driver after a plus sign', () => {
    expect(new DatabaseURL('postgres://h/d').dialect).toBe('postgresql')
    expect(new DatabaseURL('postgresql+pg://h/d')).toMatchObject({ dialect: 'postgresql', driver: 'pg' })
    expect(new DatabaseURL('POSTGRESQL://h/d').dialect).toBe('postgresql')
  })

  it('gives null for parts that are missing', () => {
    expect(new DatabaseURL('postgresql:///shop')).toMatchObject({
      username: null,
      password: null,
      hostname: null,
      port: null,
      database: 'shop',
    })
  })

  it('distinguishes an empty password from none', () => {
    expect(new DatabaseURL('postgresql://app@h/d').password).toBeNull()
    expect(new DatabaseURL('postgresql://app:@h/d').password).toBe('')
  })

  it('decodes percent-codes in every part', () => {
    const url = new DatabaseURL('postgresql://a%40b:p%2Fw%3A%23@h/d%20e?application_name=x%26y')
    expect(partsOf(url)).toMatchObject({
      username: 'a@b',
      password: 'p/w:#',
      database: 'd e',
      options: { application_name: 'x&y' },
    })
  })

  it('accepts a colon inside the password', () => {
    expect(new DatabaseURL('postgresql://app:a:b@h/d').password).toBe('a:b')
  })

  it('accepts an IPv6 address in brackets, and writes it back in brackets', () => {
    const url = new DatabaseURL('postgresql://app@[::1]:6432/d')
    expect(url).toMatchObject({ hostname: '::1', port: 6432 })
    expect(url.href).toBe('postgresql://app@[::1]:6432/d')
  })

  it.each([
    ['sqlite:///relative.db', 'relative.db'],
    ['sqlite:///folder/relative.db', 'folder/relative.db'],
    ['sqlite:////absolute/file.db', '/absolute/file.db'],
    ['sqlite:///with%20space.db', 'with space.db'],
    ['sqlite:///:memory:', ':memory:'],
    ['sqlite://', ':memory:'],
    ['sqlite:///', ':memory:'],
  ])('reads %s as the SQLite database %s', (text, database) => {
    const url = new DatabaseURL(text)
    expect(url.database).toBe(database)
    expect(url.isMemory).toBe(database === ':memory:')
  })

  it('copies a DatabaseURL', () => {
    const url = new DatabaseURL('postgresql://app:s3cret@h/d')
    expect(new DatabaseURL(url).href).toBe(url.href)
  })

  it('reads the folder of a Unix socket from the parameter host', () => {
    const url = new DatabaseURL('postgresql://app:s3cret@/shop?host=/var/run/postgresql')
    expect(url).toMatchObject({ hostname: null, database: 'shop', username: 'app', password: 's3cret' })
    expect({ ...url.options }).toEqual({ host: '/var/run/postgresql' })
    expect(knexConfig(url).connection).toMatchObject({ host: '/var/run/postgresql' })
  })
})

describe('refusing a database URL', () => {
  it('names the unknown scheme, and shows valid URLs', () => {
    expect(refusal('mysql://h/d')).toMatch(/'mysql:\/\/'.*postgresql:\/\/.*sqlite:\/\/\//)
  })

  it('names the unknown driver, and the known one', () => {
    expect(refusal('postgresql+asyncpg://h/d')).toMatch(/'asyncpg'.*postgresql\+pg:\/\//)
    expect(refusal('postgresql+pg+more://h/d')).toMatch(/'pg\+more'/)
    expect(refusal('sqlite+pg:///d')).toMatch(/'pg'.*sqlite\+sqlite3:\/\//)
  })

  it.each(['', 'shop', 'postgresql:shop', '//h/d', 'postgresql://a:b@c@h/d'])(
    'refuses %j, which is not a URL',
    (text) => {
      expect(refusal(text)).not.toMatch(/^accepted/)
    },
  )

  it.each(['0', '65536', '54x', '-1', '1.5'])('refuses the port %s', (port) => {
    expect(refusal(`postgresql://h:${port}/d`)).toMatch(`from 1 to 65535, got '${port}'`)
  })

  it('names the part with an invalid percent-encoding, without showing the password', () => {
    const message = refusal('postgresql://app:hunter%zz2@h/d')
    expect(message).toMatch(/password.*%25/)
    expect(message).not.toContain('hunter')
    expect(refusal('postgresql://app@h/100%')).toMatch(/database/)
  })

  it('does not show the password of a URL that it refuses', () => {
    expect(refusal('postgresql://app:hunter2@h:99999/d')).not.toContain('hunter2')
    expect(refusal('mysql://app:hunter2@h/d')).not.toContain('hunter2')
    expect(refusal('app:hunter2@h/d')).not.toContain('hunter2')
  })

  it('refuses a SQLite URL with a host, since a slash is missing', () => {
    expect(refusal('sqlite://relative.db')).toMatch(/three slashes/)
    expect(refusal('sqlite://:memory:')).toMatch(/sqlite:\/\/ \(in memory\)/)
  })

  it('refuses a parameter that is given twice', () => {
    expect(refusal('postgresql://h/d?pool_size=1&pool_size=2')).toMatch(/'pool_size' twice/)
  })

  it.each([null, undefined, 5, {}])('refuses %p, which is not a string', (value) => {
    expect(() => new DatabaseURL(value as string)).toThrow(ConfigurationError) // as from JavaScript
  })

  it('does not show a password that holds a slash or a question mark', () => {
    for (const url of ['postgresql://app:hunter2/x@h/d', 'postgresql://app:hunter2?x@h/d']) {
      expect(() => new DatabaseURL(url)).toThrow(
        expect.not.objectContaining({ message: expect.stringContaining('hunter2') as unknown }) as Error,
      )
    }
  })
})

describe('DatabaseURL.replace()', () => {
  const url = new DatabaseURL('postgresql://app:s3cret@h:5432/shop')

  it('does not change the original', () => {
    expect(url.replace({ database: 'shop_test' }).href).toBe('postgresql://app:s3cret@h:5432/shop_test')
    expect(url.href).toBe('postgresql://app:s3cret@h:5432/shop')
  })

  it.each([
    ['password', 'p@ss/w:rd?#&=%+ ü'],
    ['username', 'first last@example.org'],
    ['database', 'naïve/shop ?#'],
  ] as const)('encodes the %s, so that it is read back unchanged', (part, value) => {
    const changed = url.replace({ [part]: value })
    expect(changed[part]).toBe(value)
    expect(new DatabaseURL(changed.href)[part]).toBe(value)
    expect(changed.href).toMatch(/^[!-~]+$/)
  })

  it('encodes parameters', () => {
    const changed = url.replace({ options: { application_name: 'a&b=c d+e' } })
    expect(new DatabaseURL(changed.href).options).toEqual({ application_name: 'a&b=c d+e' })
  })

  it('removes a part that is set to null', () => {
    expect(url.replace({ port: null, password: null }).href).toBe('postgresql://app@h/shop')
  })

  it('validates its arguments like a written URL', () => {
    expect(() => url.replace({ port: 70_000 })).toThrow(/65535/)
    expect(() => url.replace({ dialect: 'oracle' })).toThrow(/oracle/)
    expect(() => url.replace(null as never)).toThrow(/takes an object .*got null/)
  })

  it('names an unknown part, and the known ones', () => {
    expect(() => url.replace({ host: 'h' } as Partial<URLParts>)).toThrow(/no part 'host'.*hostname/)
  })

  it('names the part whose value is invalid', () => {
    const url = new DatabaseURL('postgresql://app@db:5432/shop?sslmode=require')
    const wrong: [object, RegExp][] = [
      [{ hostname: 'db:5433' }, /'db:5433' is neither a host name nor an IPv6 address/],
      [{ hostname: 5 }, /hostname of a database URL is of type string or null, got number/],
      [{ options: null }, /options of a database URL is of type object, got null/],
      [{ database: null }, /database of a database URL is of type string/],
      [{ port: '5433' }, /port of a database URL is of type number or null, got string/],
      [{ hots: 'db' }, /has no part 'hots'/],
    ]
    for (const [changes, message] of wrong) {
      expect(() => url.replace(changes)).toThrow(ConfigurationError)
      expect(() => url.replace(changes)).toThrow(message)
    }
  })

  it('keeps a part that is given as undefined', () => {
    const url = new DatabaseURL('postgresql://app@db:5432/shop?sslmode=require')
    expect(url.replace({ hostname: undefined as never, port: 5433 }).href).toBe(
      'postgresql://app@db:5433/shop?sslmode=require',
    )
    expect(url.replace({ hostname: '::1' }).hostname).toBe('::1')
  })

  it('changes the driver, the port and the database', () => {
    const url = new DatabaseURL('postgresql://app@h:5432/shop')
    expect(url.replace({ driver: 'pg' }).href).toBe('postgresql+pg://app@h:5432/shop')
    expect(url.replace({ driver: 'pg' }).replace({ driver: '' }).href).toBe(url.href)
    expect(url.replace({ port: 123 }).href).toBe('postgresql://app@h:123/shop')
    expect(url.replace({ database: 'test_shop' }).database).toBe('test_shop')
  })

  it('changes the file of a SQLite URL, relative or absolute', () => {
    for (const [text, database] of [
      ['sqlite:///shop.db', 'test_shop.db'],
      ['sqlite:////data/shop.db', '/data/test_shop.db'],
    ] as const) {
      const changed = new DatabaseURL(text).replace({ database })
      expect(changed.database).toBe(database)
      expect(new DatabaseURL(changed.href).database).toBe(database)
    }
  })
})

describe('printing a database URL', () => {
  const url = new DatabaseURL('postgresql://app:s3cret@h/shop?application_name=web')

  it('masks the password as text, as JSON and in the console', () => {
    const printed = [
      String(url),
      url.toString(),
      JSON.stringify({ url }),
      inspect({ url }, { depth: 9, showHidden: true }),
    ]
    for (const text of printed) {
      expect(text).toContain('postgresql://app:***@h/shop?application_name=web')
      expect(text).not.toContain('s3cret')
    }
  })

  it('shows the password in href only', () => {
    expect(url.href).toBe('postgresql://app:s3cret@h/shop?application_name=web')
  })

  it('masks nothing when there is no password', () => {
    expect(String(new DatabaseURL('postgresql://app@h/d'))).toBe('postgresql://app@h/d')
  })

  it.each(['sqlite:///relative.db', 'sqlite:////absolute.db', 'sqlite:///:memory:'])(
    'prints %s unchanged',
    (text) => {
      expect(String(new DatabaseURL(text))).toBe(text)
    },
  )

  it('masks a percent-encoded password', () => {
    const url = new DatabaseURL('postgresql://app:p%40ss%3Aword@h/d')
    expect(String(url)).toBe('postgresql://app:***@h/d')
    expect(url.password).toBe('p@ss:word')
  })
})

function partsOf({
  dialect,
  driver,
  username,
  password,
  hostname,
  port,
  database,
  options,
}: DatabaseURL): URLParts {
  return { dialect, driver, username, password, hostname, port, database, options: { ...options } }
}
