/** The number of statements of each request, which does not depend on the number of rows. */
import { SpecifiedService } from './support/openapi'
import { eachService } from './support/open-service'

/** The number of each operation. A transfer is BEGIN, two updates, a row of the history, COMMIT. */
const STATEMENTS: Readonly<Record<string, number>> = {
  'GET /users': 1,
  'POST /users': 1,
  'GET /users/{id}': 1,
  'PATCH /users/{id}': 1,
  'DELETE /users/{id}': 1,
  'GET /posts': 1,
  'GET /users/{id}/posts': 1,
  'POST /posts': 1,
  'GET /posts/{id}': 1,
  'PATCH /posts/{id}': 1,
  'DELETE /posts/{id}': 1,
  'GET /accounts': 1,
  'POST /accounts': 1,
  'GET /accounts/{id}': 1,
  'GET /accounts/{id}/transfers': 1,
  'POST /transfer': 5,
  'GET /transfers/{id}': 1,
  'GET /products': 1,
  'POST /products': 1,
  'GET /products/{id}': 1,
  'PATCH /products/{id}': 1,
  'DELETE /products/{id}': 1,
}

eachService(
  'the service',
  (service) => {
    it('runs a known number of statements for each request, independent of the number of rows', async () => {
      const specified = await SpecifiedService.of(service.url)
      for (const name of ['ada', 'grace', 'edgar', 'barbara']) {
        const { id } = await specified.create('/users', { username: name, email: `${name}@example.com` })
        await specified.create('/accounts', { owner: name, balance: 10_000 })
        await specified.create('/products', { name, price: 100 })
        for (const title of ['One', 'Two', 'Three'])
          await specified.create('/posts', { title, content: 'Text', author_id: id })
      }
      const sent: string[] = []
      for (const database of [service.main, service.products])
        database.on('query', ({ sql }) => void sent.push(sql))

      for (const operation of specified.operations) {
        sent.length = 0
        const body = operation.hasBody ? JSON.stringify(specified.bodyFor(operation)) : null
        const status = await specified.call(operation, operation.address(), {
          ...(body !== null && { headers: { 'Content-Type': 'application/json' }, body }),
        })
        expect([operation.name, status]).toEqual([operation.name, status < 300 ? status : 'a success'])
        expect([operation.name, sent.length, sent]).toEqual([
          operation.name,
          STATEMENTS[operation.name],
          sent,
        ])
      }
    })
  },
  { rollsBack: false },
)
