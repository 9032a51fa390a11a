/** A process with one endpoint and no database: `one-endpoint.js plain|classes`, by `listen` or as `serve()` does it. */
import express from 'express'
import { createServer } from 'node:http'
import { createServerFor } from '../../src/express/http-server'

const app = express()
app.get('/users/:id', (request, response) => {
  // Later, as an answer out of a database would be.
  setImmediate(() => response.json({ id: Number(request.params.id), username: 'somebody' }))
})
const server = process.argv[2] === 'classes' ? createServerFor(app, app) : createServer(app)
server.listen(Number(process.env['PORT']), '127.0.0.1')
