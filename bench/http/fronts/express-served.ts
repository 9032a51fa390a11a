/** The same application of Express, by the server that `serve` makes, and nothing else of this library: what Express leaves. */
import { createServerFor } from '../../../src/express/http-server'
import { applicationOf } from './express'
import type { Listen } from './front'

export const listen: Listen = async (store, port) => {
  const app = applicationOf(store)
  const server = createServerFor(app, (request, response) => {
    app(request, response)
  })
  await new Promise<void>((resolve) => {
    server.listen(port, '127.0.0.1', () => resolve())
  })
}
