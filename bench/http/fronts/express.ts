/** Express as people write it: its defaults, its JSON parser, and `listen`. */
import express, { type Express } from 'express'
import type { Store } from '../stores/store'
import { ANSWERS, DEFAULT_LIMIT, type Listen, type NewPost, type TransferBody } from './front'

export const listen: Listen = async (store, port) => {
  await new Promise<void>((resolve) => {
    applicationOf(store).listen(port, '127.0.0.1', () => resolve())
  })
}

export function applicationOf(store: Store): Express {
  const app = express()
  app.use(express.json())

  app.get('/users/:id', async (request, response) => {
    const user = await store.user(Number(request.params.id))
    if (user === undefined) response.status(404).json({ detail: 'User not found' })
    else response.json(user)
  })

  app.get('/posts/:id', async (request, response) => {
    const post = await store.post(Number(request.params.id))
    if (post === undefined) response.status(404).json({ detail: 'Post not found' })
    else response.json(post)
  })

  app.get('/posts', async (request, response) => {
    response.json(await store.posts(Number(request.query['limit'] ?? DEFAULT_LIMIT)))
  })

  app.post('/posts', async (request, response) => {
    response.status(201).json(await store.createPost(request.body as NewPost))
  })

  app.post('/transfer', async (request, response) => {
    const { from_account: from, to_account: to, amount } = request.body as TransferBody
    const { status, body } = ANSWERS[await store.transfer({ from, to, amount })]
    response.status(status).json(body)
  })

  return app
}
