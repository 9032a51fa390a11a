/** The five endpoints, as requests that are ready to be sent. */

export interface Endpoint {
  readonly id: string
  readonly title: string
  /** Makes requests one after the other, on ids that `random` chooses. */
  readonly requests: (random: () => number) => () => Buffer
}

/** How many rows the tables are given before anything is measured. */
export const USERS = 1000
export const POSTS = 5000
export const ACCOUNTS = 1000
export const BALANCE = 1_000_000

export const LIST_PATH = '/posts?limit=50'

/** An id from 1 to `highest`. */
const chosen = (random: () => number, highest: number): number => 1 + Math.floor(random() * highest)

const get = (path: string): Buffer => Buffer.from(`GET ${path} HTTP/1.1\r\nHost: bench\r\n\r\n`)

function post(path: string, body: object): Buffer {
  const text = JSON.stringify(body)
  return Buffer.from(
    `POST ${path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  )
}

/** What is posted; its author is one of the users. */
export function newPost(author_id: number): object {
  return {
    title: 'A post of the benchmark',
    content: 'Some lines that somebody has written. '.repeat(5),
    author_id,
  }
}

/** Moves one unit between two accounts that differ. */
export function movement(random: () => number): object {
  const from = chosen(random, ACCOUNTS)
  const to = 1 + ((from - 1 + chosen(random, ACCOUNTS - 1)) % ACCOUNTS)
  return { from_account: from, to_account: to, amount: 1 }
}

export const ENDPOINTS: readonly Endpoint[] = [
  {
    id: 'user',
    title: 'GET /users/{id}',
    requests: (random) => () => get(`/users/${chosen(random, USERS)}`),
  },
  {
    id: 'post',
    title: 'GET /posts/{id}, with its author',
    requests: (random) => () => get(`/posts/${chosen(random, POSTS)}`),
  },
  {
    id: 'list',
    title: 'GET /posts, 50 of them with their authors',
    requests: () => () => get(LIST_PATH),
  },
  {
    id: 'create',
    title: 'POST /posts',
    requests: (random) => () => post('/posts', newPost(chosen(random, USERS))),
  },
  {
    id: 'transfer',
    title: 'POST /transfer',
    requests: (random) => () => post('/transfer', movement(random)),
  },
]
