/** Node's own server, with no more between it and the store than the endpoints need: what a framework is up against. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Store } from '../stores/store'
import { ANSWERS, DEFAULT_LIMIT, type Listen, type NewPost, type TransferBody } from './front'

export const listen: Listen = async (store, port) => {
  const server = createServer((request, response) => {
    answer(store, request, response).catch((error: unknown) => {
      send(response, 500, { detail: String(error) })
    })
  })
  await new Promise<void>((resolve) => {
    server.listen(port, '127.0.0.1', () => resolve())
  })
}

async function answer(store: Store, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { method, url = '/' } = request
  if (method === 'GET' && url.startsWith('/users/')) {
    const user = await store.user(Number(url.slice('/users/'.length)))
    send(response, user === undefined ? 404 : 200, user ?? { detail: 'User not found' })
  } else if (method === 'GET' && url.startsWith('/posts/')) {
    const post = await store.post(Number(url.slice('/posts/'.length)))
    send(response, post === undefined ? 404 : 200, post ?? { detail: 'Post not found' })
  } else if (method === 'GET' && url.startsWith('/posts')) {
    const [, limit = DEFAULT_LIMIT] = /[?&]limit=(\d+)/.exec(url) ?? []
    send(response, 200, await store.posts(Number(limit)))
  } else if (method === 'POST' && url === '/posts') {
    send(response, 201, await store.createPost((await bodyOf(request)) as NewPost))
  } else if (method === 'POST' && url === '/transfer') {
    const { from_account: from, to_account: to, amount } = (await bodyOf(request)) as TransferBody
    const { status, body } = ANSWERS[await store.transfer({ from, to, amount })]
    send(response, status, body)
  } else {
    send(response, 404, { detail: 'Not found' })
  }
}

function send(response: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body)
  response.writeHead(status, {
    'Content-Type': 'application/json; charset=utf-8',
    'Content-Length': Buffer.byteLength(text),
  })
  response.end(text)
}

function bodyOf(request: IncomingMessage): Promise<unknown> {
  return new Promise((resolve, reject) => {
    let text = ''
    request.setEncoding('utf8')
    request.on('data', (chunk: string) => (text += chunk))
    request.on('end', () => resolve(JSON.parse(text)))
    request.on('error', reject)
  })
}
