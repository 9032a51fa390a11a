/** What runs first in a request's transaction, or on its connection: the option `begin` of both middlewares. */
import { connect } from 'node:net'
import express, { type RequestHandler } from 'express'
import request from 'supertest'
import { type Connection, Database, type Transaction } from '../../src/database'
import {
  connectionPerRequest,
  HttpProblem,
  problems,
  type Serving,
  transactionPerRequest,
} from '../../src/express'
import { rollbackEach } from '../../src/testing'
import { eachDatabase } from '../support/each-database'
import { waitFor } from '../support/wait-for'
import { deferred, serveQuietly } from './support'

type Begin = (given: Transaction | Connection, incoming: express.Request) => unknown
type Middleware = (database: Database, options: { begin: Begin }) => RequestHandler

const BOTH: readonly [string, Middleware][] = [
  ['transactionPerRequest', transactionPerRequest],
  ['connectionPerRequest', connectionPerRequest],
]

/** Serves handlers behind a middleware, until the end of each test. */
class App {
  readonly errors: unknown[] = []
  #serving: Serving | undefined

  async serve(...handlers: readonly RequestHandler[]): Promise<string> {
    const app = express().all('/', ...handlers)
    app.use(problems({ onError: (error) => void this.errors.push(error) }))
    this.#serving = await serveQuietly(app)
    return this.#serving.url
  }

  async close(): Promise<void> {
    await this.#serving?.close()
  }
}

eachDatabase('begin', (context) => {
  let database: Database
  let app: App
  let seen: string[]

  beforeEach(async () => {
    app = new App()
    database = await context.open({ pool: { size: 1, maxOverflow: 0, acquireTimeoutMillis: 2000 } })
    await database.execute('create table notes (id integer primary key, body text)')
    seen = []
    database.on('query', ({ sql }) => seen.push(sql))
  })
  afterEach(async () => {
    await app.close()
    await waitFor(() => database.stats().used === 0, { what: 'the connection to come back' })
    await database.execute('drop table notes')
  })

  const note = (id: number): Promise<unknown> =>
    database.execute('insert into notes (id) values (:id)', { id })
  const ids = (): Promise<unknown> =>
    database
      .fetchAll<{ id: number }>('select id from notes order by id')
      .then((rows) => rows.map(({ id }) => id))
  /** Those that say something of their own, without BEGIN and COMMIT. */
  const said = (): string[] => seen.filter((sql) => /'said/.test(sql)).map((sql) => sql.replace(/\D/g, ''))
  const say = (n: number): Promise<unknown> => database.fetchVal(`select 'said ${n}'`)

  describe.each(BOTH)('of %s', (_name, middleware) => {
    it('runs once, and ends before the first of the queries that wait for it', async () => {
      let times = 0
      const begin: Begin = async (given) => {
        times += 1
        await given.fetchVal("select 'said 1'")
        await new Promise((resolve) => setImmediate(resolve))
        await say(2)
      }
      const url = await app.serve(middleware(database, { begin }), async (_request, response) => {
        await Promise.all([say(3), say(4), database.transaction(() => say(5))])
        await say(6)
        response.json('done')
      })
      await request(url).get('/').expect(200)
      expect(said()).toEqual(['1', '2', '3', '4', '5', '6'])
      expect(times).toBe(1)
    })

    it('knows the request, and joins by its builders, its streams and its own transactions', async () => {
      const begin: Begin = async (given, incoming) => {
        const { user } = incoming as unknown as { user: { id: number } }
        expect(incoming.path).toBe('/')
        await given.execute(database.table('notes').insert({ id: user.id }))
        await database.table('notes').insert({ id: user.id + 1 })
        await database.transaction((tx) => tx.execute(database.table('notes').insert({ id: user.id + 2 })))
        for await (const row of database.iterate('select id from notes order by id limit 1')) {
          expect(row).toEqual({ id: user.id })
        }
      }
      const signIn: RequestHandler = (incoming, _response, next) => {
        Object.assign(incoming, { user: { id: 7 } })
        next()
      }
      const url = await app.serve(signIn, middleware(database, { begin }), async (_request, response) => {
        response.json(await ids())
      })
      await request(url).get('/').expect(200, [7, 8, 9])
      expect(app.errors).toEqual([])
    })

    it('may return a builder', async () => {
      const begin: Begin = () => database.table('notes').insert({ id: 1 })
      const url = await app.serve(middleware(database, { begin }), async (_request, response) => {
        response.json(await ids())
      })
      await request(url).get('/').expect(200, [1])
    })

    it('comes before a stream, and before a builder that is awaited', async () => {
      const begin: Begin = () => note(1)
      const url = await app.serve(middleware(database, { begin }), async ({ query }, response) => {
        const rows: unknown[] = []
        if ('stream' in query)
          for await (const row of database.iterate('select id from notes')) rows.push(row)
        else rows.push(...(await database.table('notes').select('id')))
        response.status(400).json(rows)
      })
      await request(url)
        .get('/?stream')
        .expect(400, [{ id: 1 }])
      await database.execute('delete from notes')
      await request(url)
        .get('/')
        .expect(400, [{ id: 1 }])
    })

    it('does not run for a request that makes no query', async () => {
      const begin = jest.fn()
      const url = await app.serve(middleware(database, { begin }), (_request, response) => {
        response.json(database.stats().used)
      })
      await request(url).get('/').expect(200, '0')
      expect(begin).not.toHaveBeenCalled()
    })

    it('lets no query run when it fails: the request fails with its error, and the connection comes back', async () => {
      const begin: Begin = async () => {
        await say(1)
        throw new HttpProblem(403, 'Not of this tenant')
      }
      const url = await app.serve(middleware(database, { begin }), async (_request, response) => {
        await Promise.all([say(2), say(3), database.transaction(() => say(4))])
        response.json('done')
      })
      const { body } = await request(url).get('/').expect(403)
      expect(body).toMatchObject({ detail: 'Not of this tenant' })
      await waitFor(() => database.stats().used === 0, { what: 'the connection to come back' })
      expect(said()).toEqual(['1'])
    })

    it('is not tried again when the handler goes on after its error', async () => {
      let times = 0
      const begin: Begin = () => {
        times += 1
        if (times === 1) throw new Error('not yet')
      }
      const errors: unknown[] = []
      const url = await app.serve(middleware(database, { begin }), async (_request, response) => {
        await say(1).catch((error: unknown) => errors.push(error))
        await say(2).catch((error: unknown) => errors.push(error))
        response.status(500).end()
      })
      await request(url).get('/').expect(500)
      expect(errors).toEqual([new Error('not yet'), new Error('not yet')])
      expect(said()).toEqual([])
    })

    it('holds nothing of a client that goes away while it waits for something else', async () => {
      const begun = deferred()
      const goesOn = deferred()
      const begin: Begin = async () => {
        await say(1)
        begun.resolve()
        await goesOn.promise
      }
      const url = await app.serve(middleware(database, { begin }), () => note(1))
      const socket = connect(Number(new URL(url).port), '127.0.0.1')
      socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
      await begun.promise
      socket.destroy()
      await waitFor(() => database.stats().used === 0, { what: 'the connection to come back' })
      goesOn.resolve()
      expect(await ids()).toEqual([])
    })

    it('runs for each of several databases, in that one', async () => {
      const url = await context.createDatabase()
      const second = await context.open({}, url)
      await second.execute('create table notes (id integer primary key)')
      const noteIn =
        (id: number): Begin =>
        (given) =>
          given.execute('insert into notes (id) values (:id)', { id })
      const served = await app.serve(
        middleware(database, { begin: noteIn(1) }),
        middleware(second, { begin: noteIn(2) }),
        async (_request, response) => {
          response.json([await ids(), await second.fetchAll('select id from notes')])
        },
      )
      await request(served)
        .get('/')
        .expect(200, [[1], [{ id: 2 }]])
    })

    it.each(['SET x', null, {}])('is refused when the middleware is made if it is %p', (begin) => {
      expect(() => middleware(database, { begin: begin as never })).toThrow(/^begin is a function, got /)
    })
  })

  it('writes in the transaction: it is committed with it, and rolled back with it', async () => {
    const begin: Begin = (_tx, { query }) => note(Number(query['id']))
    const url = await app.serve(transactionPerRequest(database, { begin }), async ({ query }, response) => {
      await note(Number(query['id']) + 1)
      response.status(Number(query['status'])).end()
    })
    await request(url).get('/?id=1&status=200').expect(200)
    await request(url).get('/?id=3&status=409').expect(409)
    expect(await ids()).toEqual([1, 2])
  })

  it('has its own work rolled back when it fails, and runs its hooks', async () => {
    const hooks: string[] = []
    const begin = async (tx: Transaction): Promise<void> => {
      tx.afterCommit(() => hooks.push('committed'))
      tx.afterRollback(() => hooks.push('rolled back'))
      await note(1)
      throw new Error('no')
    }
    const url = await app.serve(transactionPerRequest(database, { begin }), () => note(2))
    await request(url).get('/').expect(500)
    expect(app.errors).toEqual([new Error('no')])
    expect(hooks).toEqual(['rolled back'])
    expect(await ids()).toEqual([])
  })

  it('has its error answered in place of an answer that leaves it out', async () => {
    const begin = (): void => {
      throw new HttpProblem(403, 'Not of this tenant')
    }
    const url = await app.serve(transactionPerRequest(database, { begin }), async (_request, response) => {
      const found = await note(1).catch(() => 'nothing')
      response.json(found)
    })
    const { body } = await request(url).get('/').expect(403)
    expect(body).toMatchObject({ detail: 'Not of this tenant' })
  })

  it('of a connection runs in the transaction around it, before the first query behind it', async () => {
    const order: string[] = []
    const begin =
      (name: string): Begin =>
      async () => {
        await say(1)
        order.push(name)
      }
    const url = await app.serve(
      transactionPerRequest(database, { begin: begin('transaction') }),
      connectionPerRequest(database, { begin: begin('connection') }),
      connectionPerRequest(database, { begin: begin('connection in it') }),
      async (_request, response) => {
        await note(1)
        response.status(400).json([database.stats().used, order])
      },
    )
    await request(url)
      .get('/')
      .expect(400, [1, ['transaction', 'connection', 'connection in it']])
    expect(await ids()).toEqual([])
  })

  it('sets what lasts no longer than the request', async () => {
    const set =
      context.dialect === 'sqlite' ? 'create temporary table mine (id integer)' : "set app.tenant to '7'"
    const read =
      context.dialect === 'sqlite'
        ? "select count(*) from sqlite_temp_master where name = 'mine'"
        : "select coalesce(current_setting('app.tenant', true), '')"
    const url = await app.serve(
      connectionPerRequest(database, { begin: (connection) => connection.execute(set) }),
      async (_request, response) => void response.json(await database.fetchVal(read)),
    )
    const inside = context.dialect === 'sqlite' ? '1' : '"7"'
    await request(url).get('/').expect(200, inside)
    await request(url).get('/').expect(200, inside)
    await waitFor(() => database.stats().used === 0, { what: 'the connection to come back' })
    expect(await database.fetchVal(read)).toBe(context.dialect === 'sqlite' ? 0 : '')
  })
})

eachDatabase('begin on a connection that the server has closed', (context) => {
  if (context.dialect === 'sqlite') {
    it('is tested on PostgreSQL', () => expect(context.url).toContain('sqlite'))
    return
  }
  let app: App
  beforeEach(() => {
    app = new App()
  })
  afterEach(() => app.close())

  it('has its transaction begun on another one, and runs once', async () => {
    const database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    let times = 0
    const begin = async (tx: Transaction): Promise<void> => {
      times += 1
      await tx.fetchVal("select set_config('app.tenant', '7', true)")
    }
    const url = await app.serve(transactionPerRequest(database, { begin }), async (_request, response) => {
      response.json(await database.fetchVal("select current_setting('app.tenant')"))
    })
    const pid = await database.fetchVal('select pg_backend_pid()')
    await request(url).get('/').expect(200, '"7"')
    await context.admin(`select pg_terminate_backend(${String(pid)})`)
    await request(url).get('/').expect(200, '"7"')
    expect(times).toBe(2)
  })
})

eachDatabase('begin in a test that is rolled back', (context) => {
  let database: Database
  let app: App

  beforeAll(async () => {
    database = new Database(context.url)
    await database.connect()
    await database.execute('create table notes (id integer primary key)')
    await database.disconnect()
  })
  beforeEach(() => {
    app = new App()
  })
  afterEach(() => app.close())
  rollbackEach(() => database)

  const count = (): Promise<number> => database.fetchVal('select count(*) from notes').then(Number)

  it.each(BOTH)('runs for each request of %s, which sees what it has written', async (_name, middleware) => {
    const begin: Begin = (given, { query }) =>
      given.execute('insert into notes (id) values (:id)', { id: Number(query['id']) })
    const url = await app.serve(middleware(database, { begin }), async (_request, response) => {
      const rows: unknown[] = []
      for await (const row of database.iterate('select id from notes order by id')) rows.push(row)
      response.json([rows.length, await database.transaction(count)])
    })
    await request(url).get('/?id=1').expect(200, [1, 1])
    await request(url).get('/?id=2').expect(200, [2, 2])
    expect(await count()).toBe(2)
    expect(app.errors).toEqual([])
  })

  it('leaves each statement behind connectionPerRequest a savepoint of its own', async () => {
    const begin: Begin = (connection) => connection.execute('insert into notes (id) values (1)')
    const url = await app.serve(connectionPerRequest(database, { begin }), async (_request, response) => {
      await expect(database.execute('nonsense')).rejects.toMatchObject({ code: 'QUERY_FAILED' })
      response.json(await count())
    })
    await request(url).get('/').expect(200, '1')
  })

  it('rolls its own work back with the request of transactionPerRequest, and no more', async () => {
    const begin: Begin = (tx, { query }) =>
      tx.execute('insert into notes (id) values (:id)', { id: Number(query['id']) })
    const url = await app.serve(transactionPerRequest(database, { begin }), async ({ query }, response) => {
      response.status(Number(query['status'])).json(await count())
    })
    await request(url).get('/?id=1&status=200').expect(200, '1')
    await request(url).get('/?id=2&status=409').expect(409, '2')
    expect(await count()).toBe(1)
  })
})
