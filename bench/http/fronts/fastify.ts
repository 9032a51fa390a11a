/** Fastify with schemas, from which it makes its checks and its serializers. */
import { fastify } from 'fastify'
import { ANSWERS, DEFAULT_LIMIT, type Listen, type NewPost, type TransferBody } from './front'

const integer = { type: 'integer' }
const string = { type: 'string' }

/** An object that has exactly these members. */
function object(properties: Record<string, object>): object {
  return { type: 'object', properties, required: Object.keys(properties), additionalProperties: false }
}

const byId = object({ id: integer })
const problem = object({ detail: string })
const user = object({ id: integer, username: string, email: string })
const post = object({
  id: integer,
  title: string,
  content: string,
  author: object({ id: integer, username: string }),
})

interface ById {
  Params: { id: number }
}

export const listen: Listen = async (store, port) => {
  const app = fastify()

  app.get<ById>(
    '/users/:id',
    { schema: { params: byId, response: { 200: user, 404: problem } } },
    async (request, reply) =>
      (await store.user(request.params.id)) ?? reply.code(404).send({ detail: 'User not found' }),
  )

  app.get<ById>(
    '/posts/:id',
    { schema: { params: byId, response: { 200: post, 404: problem } } },
    async (request, reply) =>
      (await store.post(request.params.id)) ?? reply.code(404).send({ detail: 'Post not found' }),
  )

  const query = { type: 'object', properties: { limit: { type: 'integer', default: DEFAULT_LIMIT } } }
  app.get<{ Querystring: { limit: number } }>(
    '/posts',
    { schema: { querystring: query, response: { 200: { type: 'array', items: post } } } },
    async (request) => store.posts(request.query.limit),
  )

  const newPost = object({ title: string, content: string, author_id: integer })
  const created = object({ id: integer, title: string, author_id: integer })
  app.post<{ Body: NewPost }>(
    '/posts',
    { schema: { body: newPost, response: { 201: created } } },
    async (request, reply) => reply.code(201).send(await store.createPost(request.body)),
  )

  const movement = object({ from_account: integer, to_account: integer, amount: integer })
  const answers = { 200: object({ message: string }), 404: problem, 409: problem }
  app.post<{ Body: TransferBody }>(
    '/transfer',
    { schema: { body: movement, response: answers } },
    async (request, reply) => {
      const { from_account: from, to_account: to, amount } = request.body
      const { status, body } = ANSWERS[await store.transfer({ from, to, amount })]
      return reply.code(status).send(body)
    },
  )

  await app.listen({ port, host: '127.0.0.1' })
}
