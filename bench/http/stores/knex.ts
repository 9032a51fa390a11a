/** Knex as people write it, but with its rows locked. */
import { knex } from 'knex'
import {
  type CreatedPost,
  IDLE_MILLIS,
  judge,
  KEEPS_HISTORY,
  type OpenStore,
  POOL_SIZE,
  type PostRow,
  toPost,
  type User,
} from './store'

export const open: OpenStore = (url) => {
  const db = knex({
    client: 'pg',
    connection: url,
    pool: { min: 0, max: POOL_SIZE, idleTimeoutMillis: IDLE_MILLIS },
  })
  const postsWithAuthors = () =>
    db('posts')
      .join('users', 'users.id', 'posts.author_id')
      .select('posts.id', 'posts.title', 'posts.content', 'posts.author_id', 'users.username')

  return {
    user: (id) => db<User>('users').select('id', 'username', 'email').where({ id }).first(),

    async post(id) {
      const row = await postsWithAuthors().where('posts.id', id).first<PostRow | undefined>()
      return row && toPost(row)
    },

    async posts(limit) {
      const rows = await postsWithAuthors().orderBy('posts.id').limit(limit)
      return (rows as PostRow[]).map(toPost)
    },

    async createPost(post) {
      const [created] = await db('posts').insert(post).returning(['id', 'title', 'author_id'])
      return created as CreatedPost
    },

    transfer: (transfer) =>
      db.transaction(async (trx) => {
        const { from, to, amount } = transfer
        const rows = await trx('accounts')
          .select('id', 'balance')
          .whereIn('id', [from, to])
          .orderBy('id')
          .forUpdate()
        const verdict = judge(rows, transfer)
        if (verdict === 'done') {
          await trx('accounts').where({ id: from }).decrement('balance', amount)
          await trx('accounts').where({ id: to }).increment('balance', amount)
          if (KEEPS_HISTORY) await trx('transfers').insert({ from_account: from, to_account: to, amount })
        }
        return verdict
      }),
  }
}
