/** Transfers over HTTP: moving money, and reading the history. */
import * as z from 'zod'
import type { Database } from '../../database'
import { HttpProblem } from '../../express'
import { findAccount } from '../accounts/queries'
import { amount, id } from '../field-schemas'
import { idempotencyKey } from '../idempotency'
import { paginatedList } from '../pagination'
import { type Route, route } from '../route'
import { findTransfer, listTransfersOf } from './queries'
import { transfer } from './transfer'

/** Ids of transfers are larger than 32 bits: up to what a JSON number holds. */
const transferId = z.int().min(1)

const transferred = z
  .object({
    id: transferId,
    from_account: id,
    to_account: id.meta({ examples: [2] }),
    amount,
    created_at: z.iso.datetime(),
  })
  .meta({ id: 'Transfer' })

const movement = z
  .strictObject({ from_account: id, to_account: id.meta({ examples: [2] }), amount })
  .refine(({ from_account, to_account }) => from_account !== to_account, {
    path: ['to_account'],
    message: 'Must not be the account that the money comes from',
  })

const transfers = paginatedList({ sorts: [], filters: {}, ids: transferId })

const NOT_FOUND = 'Transfer not found'
const NO_ACCOUNT = 'Account not found'

export function transferRoutes(database: Database): Route[] {
  return [
    route(
      {
        method: 'post',
        path: '/transfer',
        summary: 'Move money from one account to another',
        input: { body: movement, headers: z.object({ 'idempotency-key': idempotencyKey.optional() }) },
        answers: { 200: z.object({ message: z.string().meta({ examples: ['Transfer successful'] }) }) },
        problems: { 404: 'Account 7 not found', 409: 'Insufficient funds' },
      },
      async ({ body: { from_account: from, to_account: to, amount: moved }, headers }) => {
        const message = await transfer(database, { from, to, amount: moved }, headers['idempotency-key'])
        return { status: 200, body: { message } }
      },
    ),
    route(
      {
        method: 'get',
        path: '/transfers/{id}',
        summary: 'Read a transfer',
        input: { params: z.object({ id: transferId }) },
        answers: { 200: transferred },
        problems: { 404: NOT_FOUND },
      },
      async ({ params }) => {
        const found = await findTransfer(database, params.id)
        if (found === null) throw new HttpProblem(404, NOT_FOUND)
        return { status: 200, body: found }
      },
    ),
    route(
      {
        method: 'get',
        path: '/accounts/{id}/transfers',
        summary: 'List the transfers from and to an account',
        input: { params: z.object({ id }), query: transfers.query },
        answers: { 200: z.array(transferred) },
        problems: { 404: NO_ACCOUNT },
      },
      ({ params, query }) =>
        transfers.answer(`/accounts/${params.id}/transfers`, query, async (page) => {
          const found = await listTransfersOf(database, params.id, page)
          // Only an empty page can mean that the account does not exist.
          if (found.rows.length === 0 && (await findAccount(database, params.id)) === null)
            throw new HttpProblem(404, NO_ACCOUNT)
          return found
        }),
    ),
  ]
}
