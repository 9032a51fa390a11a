/** Knex as people write it, but with its rows locked, and a SQLite file with the journal of the service. */
import { knex, type Knex } from 'knex'
import {
  type CreatedPost,
  IDLE_MILLIS,
  judge,
  type OpenStore,
  POOL_SIZE,
  type PostRow,
  toPost,
  type User,
} from './store'

export const open: OpenStore = (url) => {
  const db = knex(url.startsWith('sqlite:') ? onSqlite(url) : onPostgres(url))
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
          await trx('transfers').insert({ from_account: from, to_account: to, amount })
        }
        return verdict
      }),
  }
}

function onPostgres(connection: string): Knex.Config {
  return { client: 'pg', connection, pool: { min: 0, max: POOL_SIZE, idleTimeoutMillis: IDLE_MILLIS } }
}

/** Its pool has one connection, as Knex advises. The file is in WAL mode already. */
function onSqlite(url: string): Knex.Config {
  return {
    client: 'sqlite3',
    connection: { filename: url.slice('sqlite:///'.length) },
    useNullAsDefault: true,
    pool: {
      min: 1,
      max: 1,
      afterCreate: (raw: { exec(sql: string, done: () => void): void }, done: () => void) => {
        raw.exec('PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON', done)
      },
    },
  }
}
