/** An application on a Database with forceRollback, started twice. */
import express from 'express'
import request from 'supertest'
import { Database } from '../../src/database'
import { problems } from '../../src/express'
import { eachDatabase } from '../support/each-database'
import { serveQuietly } from './support'

eachDatabase('an application in a forced rollback', (context) => {
  it('sees its own rows while it runs, and none of them after a restart', async () => {
    const owner = await context.open()
    await owner.execute('create table notes (id integer primary key, text varchar(100))')
    await owner.disconnect()
    const database = context.track(new Database(context.url, { forceRollback: true }))
    const app = express().use(express.json())
    app.get('/notes', async (_request, response) => {
      response.json(await database.fetchAll(database.table('notes').select('text').orderBy('id')))
    })
    app.post('/notes', async (request, response) => {
      const { text } = request.body as { text: string }
      await database.execute('insert into notes (id, text) values (:id, :text)', { id: 1, text })
      response.status(201).json({ text })
    })
    app.use(problems())

    for (let life = 0; life < 2; life += 1) {
      const serving = await serveQuietly(app, { databases: [database] })
      expect(database.isConnected).toBe(true)
      expect((await request(serving.url).get('/notes').expect(200)).body).toEqual([])
      await request(serving.url).post('/notes').send({ text: 'example' }).expect(201)
      await request(serving.url).post('/notes').send({ text: 'taken' }).expect(409)
      expect((await request(serving.url).get('/notes').expect(200)).body).toEqual([{ text: 'example' }])
      await serving.close()
      expect(database.isConnected).toBe(false)
    }
    expect(await context.admin('select * from notes')).toEqual([])
    await context.admin('drop table notes')
  })
})
