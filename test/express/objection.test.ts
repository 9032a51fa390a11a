/** Objection on database.knex: models, transactions and errors, in requests and in tests. */
import express, { type RequestHandler } from 'express'
import {
  DBError,
  ForeignKeyViolationError,
  Model,
  NotNullViolationError,
  type QueryContext,
  type RelationMappings,
  UniqueViolationError,
  transaction,
} from 'objection'
import request from 'supertest'
import type { Database } from '../../src/database'
import { problems, type Serving, transactionPerRequest } from '../../src/express'
import { eachDatabase } from '../support/each-database'
import { failure, idsOf, undone } from '../database/support'
import { serveQuietly } from './support'

class Person extends Model {
  static override readonly tableName = 'people'
  declare id: number
  declare name: string
  declare bossId: number | null
  declare pets?: Pet[]

  static override readonly relationMappings = (): RelationMappings => ({
    pets: {
      relation: Model.HasManyRelation,
      modelClass: Pet,
      join: { from: 'people.id', to: 'pets.ownerId' },
    },
  })

  override async $beforeInsert(context: QueryContext): Promise<void> {
    await super.$beforeInsert(context)
    // Hooks get the transaction of their query.
    await Person.query(context.transaction).resultSize()
  }
}

class Pet extends Model {
  static override readonly tableName = 'pets'
  declare id: number
  declare name: string
  declare ownerId: number
}

eachDatabase('Objection', (context) => {
  let database: Database
  let serving: Serving | undefined

  beforeEach(async () => {
    database = await context.open({ pool: { size: 2, maxOverflow: 0, acquireTimeoutMillis: 2000 } })
    await database.knex.schema.createTable('people', (table) => {
      table.increments('id')
      table.string('name').notNullable().unique()
      table.integer('bossId').references('people.id')
    })
    await database.knex.schema.createTable('pets', (table) => {
      table.increments('id')
      table.string('name')
      table.integer('ownerId').references('people.id')
    })
    Model.knex(database.knex)
  })
  afterEach(async () => {
    await serving?.close()
    serving = undefined
    await context.admin('drop table pets')
    await context.admin('drop table people')
  })

  it('inserts, reads and updates graphs', async () => {
    await Person.query().insertGraph({ name: 'ada', pets: [{ name: 'rex' }, { name: 'tom' }] } as object)
    const ada = await Person.query().findOne({ name: 'ada' }).withGraphFetched('pets').throwIfNotFound()
    expect(ada.pets?.map(({ name }) => name).toSorted()).toEqual(['rex', 'tom'])
    expect(await Person.query().patch({ name: 'eve' }).where({ name: 'ada' })).toBe(1)
    expect(await Pet.query().delete()).toBe(2)
    expect(database.stats().used).toBe(0)
  })

  it('gets the errors that it recognizes', async () => {
    await Person.query().insert({ name: 'ada' })
    const taken = await failure(Promise.resolve(Person.query().insert({ name: 'ada' })))
    expect(taken).toBeInstanceOf(UniqueViolationError)
    expect(taken).toMatchObject({ table: 'people', columns: ['name'] })
    const missing = await failure(Promise.resolve(Person.query().insert({ name: 'bob', bossId: 99 })))
    expect(missing).toBeInstanceOf(ForeignKeyViolationError)
    const empty = await failure(Promise.resolve(Person.query().insert({ bossId: 1 })))
    expect(empty).toBeInstanceOf(NotNullViolationError)
    const unknown = await failure(Promise.resolve(Person.query().where('nowhere', 1)))
    expect(unknown).toBeInstanceOf(DBError)
  })

  it('runs transactions in each of its ways', async () => {
    await Person.transaction(async (trx) => Person.query(trx).insert({ id: 1, name: 'ada' }))
    await undone(
      transaction(Person, async (Bound) => {
        await Bound.query().insert({ id: 2, name: 'bob' })
        throw new Error('out')
      }),
    )
    const trx = await Person.startTransaction()
    await Person.query(trx).insert({ id: 3, name: 'eve' })
    await trx.commit()
    expect(await idsOf(database, 'people')).toEqual([1, 3])
    expect(database.stats().used).toBe(0)
  })

  it('joins a transaction of the Database, and is rolled back with it', async () => {
    await undone(
      database.transaction(async () => {
        await Person.query().insert({ id: 1, name: 'ada' })
        await Person.transaction(async (trx) => {
          await Person.query(trx).insert({ id: 2, name: 'bob' })
          // A query that is not passed the transaction is in it as well.
          await Person.query().insert({ id: 3, name: 'eve' })
        })
        await undone(
          Person.transaction(async (trx) => {
            await Person.query(trx).insert({ id: 4, name: 'joe' })
            throw new Error('out')
          }),
        )
        expect(await idsOf(database, 'people')).toEqual([1, 2, 3])
        throw new Error('out')
      }),
    )
    expect(await idsOf(database, 'people')).toEqual([])
    await database.forceRollback(() =>
      Person.transaction(async (trx) => Person.query(trx).insert({ name: 'ada' })),
    )
    expect(await idsOf(database, 'people')).toEqual([])
  })

  async function post(...handlers: RequestHandler[]): Promise<request.Response> {
    const app = express()
    app.post('/', ...handlers)
    app.use(problems({ onError: () => undefined }))
    serving = await serveQuietly(app)
    return request(serving.url).post('/')
  }

  it('errors of a conflict are answered 409, and the transaction is rolled back', async () => {
    await Person.query().insert({ id: 1, name: 'ada' })
    const { status, body } = await post(transactionPerRequest(database), async (_request, response) => {
      await Person.query().insert({ id: 2, name: 'bob' })
      await Person.transaction(async (trx) => Person.query(trx).insert({ id: 3, name: 'ada' }))
      response.end()
    })
    expect(status).toBe(409)
    expect(body).toMatchObject({ detail: 'This exists already.' })
    expect(await idsOf(database, 'people')).toEqual([1])
  })

  it('errors of a timeout are answered 504', async () => {
    await Person.query().insert({ name: 'ada' })
    const { status } = await post(async (_request, response) => {
      await Person.query()
        .select(database.knex.raw(slow(context.dialect)))
        .timeout(50)
      response.end()
    })
    expect(status).toBe(504)
  })
})

function slow(dialect: string): string {
  return dialect === 'sqlite'
    ? '(with recursive c (n) as (select 1 union all select n + 1 from c) select count(*) from c) as s'
    : '(select pg_sleep(60)) as s'
}
