/** Connection strings of PostgreSQL as hosting services and other tools give them, and the settings that each is read as. */
import { Database, DatabaseURL, knexConfig } from '../../src/database'
import { resolveSettings } from '../../src/database/options'
import { eachDatabase } from '../support/each-database'
import { standingCheck } from '../support/standing-check'

/** The settings that the driver gets, and the options of the Database that the URL sets. */
function meaningOf(text: string): Record<string, unknown> {
  const url = new DatabaseURL(text)
  const { pool, statementTimeoutMillis, preparedStatements } = resolveSettings(url, {})
  const { connection, searchPath } = knexConfig(url) as { connection: object; searchPath?: unknown }
  return { ...connection, searchPath, pool, statementTimeoutMillis, preparedStatements }
}

const ENCRYPTED = { rejectUnauthorized: false }
const VERIFIED = { rejectUnauthorized: true }

describe('a connection string', () => {
  standingCheck()

  it.each<[string, string, Record<string, unknown>]>([
    [
      'Neon',
      'postgresql://app:npg_s3cret@ep-cool-1.eu-central-1.aws.neon.tech/shop?sslmode=require&channel_binding=require',
      { host: 'ep-cool-1.eu-central-1.aws.neon.tech', ssl: ENCRYPTED, enableChannelBinding: true },
    ],
    [
      'Neon, for clients without SNI',
      'postgresql://app:x@ep-cool-1.neon.tech/shop?sslmode=require&options=endpoint%3Dep-cool-1',
      { options: 'endpoint=ep-cool-1' },
    ],
    [
      'Supabase',
      'postgresql://postgres:x@db.abcdefgh.supabase.co:5432/postgres',
      { host: 'db.abcdefgh.supabase.co', port: 5432, user: 'postgres', database: 'postgres' },
    ],
    [
      'Supabase, pooled, for Prisma',
      'postgresql://postgres.abcdefgh:x@aws-0-eu-central-1.pooler.supabase.com:6543/postgres?pgbouncer=true&connection_limit=1',
      {
        user: 'postgres.abcdefgh',
        port: 6543,
        preparedStatements: 0,
        pool: expect.objectContaining({ size: 1, maxOverflow: 0 }),
      },
    ],
    [
      'Supabase by Vercel',
      'postgres://postgres.abcdefgh:x@aws-0-us-east-1.pooler.supabase.com:6543/postgres?sslmode=require&supa=base-pooler.x',
      { ssl: ENCRYPTED, port: 6543 },
    ],
    [
      'Heroku',
      'postgres://u1:p1@ec2-1-2-3-4.compute-1.amazonaws.com:5432/d1',
      { host: 'ec2-1-2-3-4.compute-1.amazonaws.com', user: 'u1', password: 'p1', database: 'd1' },
    ],
    ['Heroku, as its users write on', 'postgres://u1:p1@h/d1?sslmode=no-verify', { ssl: ENCRYPTED }],
    ['Render, inside', 'postgresql://app:x@dpg-abc-a/shop', { host: 'dpg-abc-a', database: 'shop' }],
    [
      'Render, from outside',
      'postgresql://app:x@dpg-abc-a.frankfurt-postgres.render.com/shop?ssl=true',
      { ssl: ENCRYPTED },
    ],
    [
      'Vercel, for Prisma',
      'postgres://default:x@ep-1-pooler.us-east-1.aws.neon.tech:5432/verceldb?pgbouncer=true&connect_timeout=15&sslmode=require',
      { connectionTimeoutMillis: 15_000, ssl: ENCRYPTED, preparedStatements: 0 },
    ],
    [
      'Railway, inside',
      'postgresql://postgres:x@postgres.railway.internal:5432/railway',
      { host: 'postgres.railway.internal', database: 'railway' },
    ],
    [
      'Railway, from outside',
      'postgresql://postgres:x@roundhouse.proxy.rlwy.net:41234/railway',
      { host: 'roundhouse.proxy.rlwy.net', port: 41_234 },
    ],
    [
      'RDS',
      'postgresql://app:x@shop.abc.eu-central-1.rds.amazonaws.com:5432/shop?sslmode=verify-full',
      { ssl: VERIFIED },
    ],
    [
      'Azure',
      'postgres://app%40shop:x@shop.postgres.database.azure.com/postgres?sslmode=require',
      { user: 'app@shop', ssl: ENCRYPTED },
    ],
    [
      'Aiven',
      'postgres://avnadmin:AVNS_x@pg-1-shop.a.aivencloud.com:12691/defaultdb?sslmode=require',
      { port: 12_691, database: 'defaultdb', ssl: ENCRYPTED },
    ],
    [
      'DigitalOcean',
      'postgresql://doadmin:AVNS_x@db-1.b.db.ondigitalocean.com:25060/defaultdb?sslmode=require',
      { port: 25_060, ssl: ENCRYPTED },
    ],
    ['Fly.io', 'postgres://app:x@shop-db.flycast:5432/shop?sslmode=disable', { ssl: false }],
    [
      'Timescale',
      'postgres://tsdbadmin:x@a.b.tsdb.cloud.timescale.com:33644/tsdb?sslmode=require',
      { port: 33_644, ssl: ENCRYPTED },
    ],
    [
      'CockroachDB',
      'postgresql://app:x@free-tier.cockroachlabs.cloud:26257/shop?sslmode=verify-full&options=--cluster%3Dshop-1',
      { options: '--cluster=shop-1', ssl: VERIFIED },
    ],
    [
      'Cloud SQL',
      'postgresql://app:x@/shop?host=/cloudsql/project:europe-west3:shop',
      { host: '/cloudsql/project:europe-west3:shop', ssl: false },
    ],
    [
      'Cloud SQL, for Prisma',
      'postgresql://app:x@localhost/shop?host=/cloudsql/project:europe-west3:shop&schema=public',
      { host: '/cloudsql/project:europe-west3:shop', searchPath: ['public'] },
    ],
    [
      'Prisma Postgres',
      'postgres://id:sk_x@db.prisma.io:5432/?sslmode=require',
      { host: 'db.prisma.io', ssl: ENCRYPTED },
    ],
    [
      'Prisma, as it begins a project',
      'postgresql://johndoe:randompassword@localhost:5432/mydb?schema=public',
      { searchPath: ['public'], database: 'mydb' },
    ],
    [
      'Prisma, with all that it knows',
      'postgresql://app:x@h/d?schema=shop&connection_limit=5&pool_timeout=20&connect_timeout=3&application_name=web',
      {
        searchPath: ['shop'],
        application_name: 'web',
        connectionTimeoutMillis: 3000,
        pool: expect.objectContaining({ size: 5, maxOverflow: 0, acquireTimeoutMillis: 20_000 }),
      },
    ],
    [
      'Django and psycopg',
      'postgresql://app:x@h/d?keepalives=1&keepalives_idle=30&target_session_attrs=any&gssencmode=disable',
      { keepAlive: true, keepAliveInitialDelayMillis: 30_000 },
    ],
    ['libpq, without keepalives', 'postgresql://h/d?keepalives=0', { keepAlive: false }],
    [
      'libpq, with an address of its own',
      'postgresql:///shop?host=10.0.0.7&port=6432&fallback_application_name=web',
      { host: '10.0.0.7', port: 6432, fallback_application_name: 'web' },
    ],
    [
      'pg',
      'postgresql://h/d?uselibpqcompat=true&sslmode=require&sslnegotiation=direct&client_encoding=UTF8',
      { ssl: ENCRYPTED, sslnegotiation: 'direct' },
    ],
    [
      'pg, with limits',
      'postgresql://h/d?statement_timeout=5000&lock_timeout=1000&idle_in_transaction_session_timeout=60000',
      { statementTimeoutMillis: 5000, lock_timeout: 1000, idle_in_transaction_session_timeout: 60_000 },
    ],
    ['pg without TLS', 'postgresql://h/d?ssl=false', { ssl: false }],
    ['Rails and pgx', 'postgresql://h/d?search_path=shop,%22$user%22', { searchPath: ['shop', '$user'] }],
  ])('is read as its provider means it: %s', (_host, url, meaning) => {
    expect(meaningOf(url)).toMatchObject(meaning)
  })

  it.each([
    ['target_session_attrs=read-write', /any or prefer-standby, got 'read-write'\. Leave it out/],
    ['gssencmode=require', /pg does not know GSSAPI/],
    ['uselibpqcompat=false', /sslmode means what it means to libpq/],
    ['client_encoding=LATIN1', /got 'LATIN1'/],
    ['keepalives=yes', /0 or 1, got 'yes'/],
    ['statement_timeout=5s', /is a number, got '5s'/],
    ['pgbouncer=constructor', /true or false/],
    ['ssl=maybe', /sslmode is one of .*got 'maybe'/],
  ])('is refused when it asks for a feature that is not supported: %s', (parameter, message) => {
    expect(() => new Database(`postgresql://h/d?${parameter}`)).toThrow(message)
  })

  it('is overridden by the options of the Database', () => {
    const url = new DatabaseURL(
      'postgresql://h/d?statement_timeout=5000&pgbouncer=true&search_path=a&lock_timeout=9',
    )
    const options = {
      statementTimeoutMillis: 7000,
      preparedStatements: true,
      knex: { searchPath: ['b'], connection: { lock_timeout: 10 } as object },
    }
    expect(resolveSettings(url, options)).toMatchObject({ ...options, preparedStatements: 256 })
  })
})

eachDatabase('a URL', (context) => {
  it('is refused when it has parameters of the other kind of database', () => {
    const [url, name] =
      context.dialect === 'sqlite'
        ? ['sqlite:///x.db?schema=shop', 'schema']
        : ['postgresql://h/d?immutable=1', 'immutable']
    expect(() => new Database(url)).toThrow(`'${name}'. Known ones are`)
  })
  if (context.dialect === 'sqlite') return

  const settingOf = async (parameters: string, name: string): Promise<unknown> => {
    const url = `${context.url}?${parameters}`
    const database = await context.open({}, url)
    return database.fetchVal(`show ${name}`)
  }

  it.each([
    ['schema=shop', 'search_path', 'shop'],
    ['search_path=shop,public', 'search_path', 'shop, public'],
    ['options=-c%20search_path%3Dtenant', 'search_path', 'tenant'],
    ['lock_timeout=1500', 'lock_timeout', '1500ms'],
    ['idle_in_transaction_session_timeout=60000', 'idle_in_transaction_session_timeout', '1min'],
    ['fallback_application_name=web', 'application_name', 'web'],
    ['keepalives=1&keepalives_idle=30&target_session_attrs=any', 'application_name', 'millpond'],
    ['pgbouncer=true&connection_limit=1', 'application_name', 'millpond'],
    ['ssl=false&uselibpqcompat=true&gssencmode=prefer', 'application_name', 'millpond'],
  ])("sets the server's setting as the URL says: %s", async (parameters, name, value) => {
    expect(await settingOf(parameters, name)).toBe(value)
  })
})
