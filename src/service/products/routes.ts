/** Products over HTTP, from the second database. */
import * as z from 'zod'
import type { Database } from '../../database'
import { HttpProblem } from '../../express'
import { atLeastOne, id, line, money, text } from '../field-schemas'
import { paginatedList } from '../pagination'
import { type Route, route } from '../route'
import { changeProduct, createProduct, deleteProduct, findProduct, listProducts } from './queries'

const name = line(200).meta({ examples: ['Rye flour, 1 kg'] })
const description = text(10_000)
  .nullable()
  .meta({ examples: ['Stone-ground, dark.'] })
const product = z
  .object({
    id,
    name: z.string().meta({ examples: ['Rye flour, 1 kg'] }),
    description: z
      .string()
      .nullable()
      .meta({ examples: ['Stone-ground, dark.'] }),
    price: money,
  })
  .meta({ id: 'Product' })
const one = z.object({ id })

const products = paginatedList({
  sorts: ['name', 'price'],
  filters: { min_price: money.optional(), max_price: money.optional() },
})

const NOT_FOUND = 'Product not found'

export function productRoutes(database: Database): Route[] {
  return [
    route(
      {
        method: 'get',
        path: '/products',
        summary: 'List products',
        input: { query: products.query },
        answers: { 200: z.array(product) },
      },
      ({ query }) => products.answer('/products', query, (page) => listProducts(database, page, query)),
    ),
    route(
      {
        method: 'post',
        path: '/products',
        summary: 'Create a product',
        input: { body: z.strictObject({ name, description: description.default(null), price: money }) },
        answers: { 201: product },
      },
      async ({ body }) => {
        const created = await createProduct(database, body)
        return { status: 201, body: created, headers: { Location: `/products/${created.id}` } }
      },
    ),
    route(
      {
        method: 'get',
        path: '/products/{id}',
        summary: 'Read a product',
        input: { params: one },
        answers: { 200: product },
        problems: { 404: NOT_FOUND },
      },
      async ({ params }) => ({ status: 200, body: found(await findProduct(database, params.id)) }),
    ),
    route(
      {
        method: 'patch',
        path: '/products/{id}',
        summary: 'Change a product',
        input: {
          params: one,
          body: atLeastOne({
            name: name.optional(),
            description: description.optional(),
            price: money.optional(),
          }),
        },
        answers: { 200: product },
        problems: { 404: NOT_FOUND },
      },
      async ({ params, body }) => ({
        status: 200,
        body: found(await changeProduct(database, params.id, body)),
      }),
    ),
    route(
      {
        method: 'delete',
        path: '/products/{id}',
        summary: 'Delete a product',
        input: { params: one },
        answers: { 204: null },
        problems: { 404: NOT_FOUND },
      },
      async ({ params }) => {
        if (!(await deleteProduct(database, params.id))) throw new HttpProblem(404, NOT_FOUND)
        return { status: 204, body: null }
      },
    ),
  ]
}

function found<P>(row: P | null): P {
  if (row === null) throw new HttpProblem(404, NOT_FOUND)
  return row
}
