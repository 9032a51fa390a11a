/** Users over HTTP. */
import * as z from 'zod'
import { type Database, UniqueViolationError } from '../../database'
import { HttpProblem } from '../../express'
import { atLeastOne, email, id, line } from '../field-schemas'
import { paginatedList } from '../pagination'
import { type Route, route } from '../route'
import { changeUser, createUser, deleteUser, findUser, listUsers } from './queries'

const username = line(64).meta({ examples: ['ada'] })
const user = z
  .object({
    id,
    username: z.string().meta({ examples: ['ada'] }),
    email: z.string().meta({ examples: ['ada@example.com'] }),
  })
  .meta({ id: 'User' })
const one = z.object({ id })

const users = paginatedList({
  sorts: ['username'],
  filters: { username: username.optional(), email: line(254).optional() },
})

const NOT_FOUND = 'User not found'
const TAKEN = 'Username is already taken'

export function userRoutes(database: Database): Route[] {
  return [
    route(
      {
        method: 'get',
        path: '/users',
        summary: 'List users',
        input: { query: users.query },
        answers: { 200: z.array(user) },
      },
      ({ query }) => users.answer('/users', query, (page) => listUsers(database, page, query)),
    ),
    route(
      {
        method: 'post',
        path: '/users',
        summary: 'Create a user',
        input: { body: z.strictObject({ username, email }) },
        answers: { 201: user },
        problems: { 409: TAKEN },
      },
      async ({ body }) => {
        const created = await createUser(database, body).catch(refuseTaken)
        return { status: 201, body: created, headers: { Location: `/users/${created.id}` } }
      },
    ),
    route(
      {
        method: 'get',
        path: '/users/{id}',
        summary: 'Read a user',
        input: { params: one },
        answers: { 200: user },
        problems: { 404: NOT_FOUND },
      },
      async ({ params }) => {
        const found = await findUser(database, params.id)
        if (found === null) throw new HttpProblem(404, NOT_FOUND)
        return { status: 200, body: found }
      },
    ),
    route(
      {
        method: 'patch',
        path: '/users/{id}',
        summary: 'Change a user',
        input: { params: one, body: atLeastOne({ username: username.optional(), email: email.optional() }) },
        answers: { 200: user },
        problems: { 404: NOT_FOUND, 409: TAKEN },
      },
      async ({ params, body }) => {
        const changed = await changeUser(database, params.id, body).catch(refuseTaken)
        if (changed === null) throw new HttpProblem(404, NOT_FOUND)
        return { status: 200, body: changed }
      },
    ),
    route(
      {
        method: 'delete',
        path: '/users/{id}',
        summary: 'Delete a user and their posts',
        input: { params: one },
        answers: { 204: null },
        problems: { 404: NOT_FOUND },
      },
      async ({ params }) => {
        if (!(await deleteUser(database, params.id))) throw new HttpProblem(404, NOT_FOUND)
        return { status: 204, body: null }
      },
    ),
  ]
}

/** Throws a problem that says which of the two is taken. If the driver gives no columns, the constraint's name contains the column. */
function refuseTaken(error: unknown): never {
  if (!(error instanceof UniqueViolationError)) throw error
  const isEmail = error.columns.includes('email') || (error.constraint ?? '').includes('email')
  throw new HttpProblem(409, isEmail ? 'Email is already taken' : TAKEN, { cause: error })
}
