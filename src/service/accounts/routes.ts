/** Accounts over HTTP. */
import * as z from 'zod'
import type { Database } from '../../database'
import { HttpProblem } from '../../express'
import { id, line, money } from '../field-schemas'
import { paginatedList } from '../pagination'
import { type Route, route } from '../route'
import { createAccount, findAccount, listAccounts } from './queries'

const owner = line(100).meta({ examples: ['Ada'] })
const account = z
  .object({ id, owner: z.string().meta({ examples: ['Ada'] }), balance: money })
  .meta({ id: 'Account' })

const accounts = paginatedList({
  sorts: ['owner'],
  filters: { owner: owner.optional() },
})

const NOT_FOUND = 'Account not found'

export function accountRoutes(database: Database): Route[] {
  return [
    route(
      {
        method: 'get',
        path: '/accounts',
        summary: 'List accounts',
        input: { query: accounts.query },
        answers: { 200: z.array(account) },
      },
      ({ query }) => accounts.answer('/accounts', query, (page) => listAccounts(database, page, query)),
    ),
    route(
      {
        method: 'post',
        path: '/accounts',
        summary: 'Open an account',
        input: { body: z.strictObject({ owner, balance: money }) },
        answers: { 201: account },
      },
      async ({ body }) => {
        const created = await createAccount(database, body)
        return { status: 201, body: created, headers: { Location: `/accounts/${created.id}` } }
      },
    ),
    route(
      {
        method: 'get',
        path: '/accounts/{id}',
        summary: 'Read an account',
        input: { params: z.object({ id }) },
        answers: { 200: account },
        problems: { 404: NOT_FOUND },
      },
      async ({ params }) => {
        const found = await findAccount(database, params.id)
        if (found === null) throw new HttpProblem(404, NOT_FOUND)
        return { status: 200, body: found }
      },
    ),
  ]
}
