/** A Database, and nothing of the service around it: what is left when both are measured with the same server. */
import { Database } from '../../../src/database'
import { type CreatedPost, judge, POOL_SIZE, type PostRow, type OpenStore, toPost, type User } from './store'

const POSTS = `SELECT posts.id, posts.title, posts.content, posts.author_id, users.username
  FROM posts JOIN users ON users.id = posts.author_id`
const LOCK = 'SELECT id, balance FROM accounts WHERE id IN (:from, :to) ORDER BY id FOR UPDATE'
const ADD = 'UPDATE accounts SET balance = balance + :by WHERE id = :id'
const WRITE_DOWN = 'INSERT INTO transfers (from_account, to_account, amount) VALUES (:from, :to, :amount)'

export const open: OpenStore = async (url) => {
  const database = new Database(url, { pool: { size: POOL_SIZE, maxOverflow: 0 } })
  await database.connect()
  return {
    user: async (id) =>
      (await database.fetchOne<User>('SELECT id, username, email FROM users WHERE id = :id', { id })) ??
      undefined,

    async post(id) {
      const row = await database.fetchOne<PostRow>(`${POSTS} WHERE posts.id = :id`, { id })
      return row === null ? undefined : toPost(row)
    },

    posts: async (limit) =>
      (await database.fetchAll<PostRow>(`${POSTS} ORDER BY posts.id LIMIT :limit`, { limit })).map(toPost),

    async createPost({ title, content, author_id }) {
      const created = await database.fetchOne<CreatedPost>(
        `INSERT INTO posts (title, content, author_id) VALUES (:title, :content, :author_id)
         RETURNING id, title, author_id`,
        { title, content, author_id },
      )
      if (created === null) throw new Error('nothing was inserted')
      return created
    },

    transfer: (transfer) => {
      const { from, to, amount } = transfer
      return database.transaction(async (tx) => {
        const rows = await tx.fetchAll<{ id: number; balance: string }>(LOCK, { from, to })
        const verdict = judge(rows, transfer)
        if (verdict !== 'done') return verdict
        await tx.execute(ADD, { by: -amount, id: from })
        await tx.execute(ADD, { by: amount, id: to })
        await tx.execute(WRITE_DOWN, { from, to, amount })
        return verdict
      })
    },
  }
}
