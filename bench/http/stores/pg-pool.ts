/** The endpoints' work with pg's own pool, each statement under a name of its own, or all without one. */
import pg from 'pg'
import { STATEMENTS } from './statements'
import {
  type CreatedPost,
  IDLE_MILLIS,
  judge,
  POOL_SIZE,
  type PostRow,
  type Store,
  toPost,
  type User,
} from './store'

type Statement = keyof typeof STATEMENTS

/** A named statement is parsed once for each connection, any other one each time. */
export function openPool(url: string, { isNamed }: { readonly isNamed: boolean }): Store {
  const pool = new pg.Pool({ connectionString: url, max: POOL_SIZE, idleTimeoutMillis: IDLE_MILLIS })

  const prepare = (name: Statement, values: unknown[]): pg.QueryConfig =>
    isNamed ? { name, text: STATEMENTS[name], values } : { text: STATEMENTS[name], values }

  async function first<R extends pg.QueryResultRow>(
    statement: Statement,
    values: unknown[],
  ): Promise<R | undefined> {
    return (await pool.query<R>(prepare(statement, values))).rows[0]
  }

  return {
    user: (id) => first<User>('user', [id]),

    async post(id) {
      const row = await first<PostRow>('post', [id])
      return row && toPost(row)
    },

    async posts(limit) {
      return (await pool.query<PostRow>(prepare('posts', [limit]))).rows.map(toPost)
    },

    async createPost({ title, content, author_id }) {
      const created = await first<CreatedPost>('createPost', [title, content, author_id])
      if (created === undefined) throw new Error('nothing was inserted')
      return created
    },

    async transfer(transfer) {
      const { from, to, amount } = transfer
      const client = await pool.connect()
      try {
        await client.query('BEGIN')
        const { rows } = await client.query(prepare('lockAccounts', [from, to]))
        const verdict = judge(rows, transfer)
        if (verdict === 'done') {
          await client.query(prepare('addToBalance', [from, -amount]))
          await client.query(prepare('addToBalance', [to, amount]))
          await client.query(prepare('writeDown', [from, to, amount]))
        }
        await client.query(verdict === 'done' ? 'COMMIT' : 'ROLLBACK')
        return verdict
      } catch (error) {
        await client.query('ROLLBACK')
        throw error
      } finally {
        client.release()
      }
    },
  }
}
