/** The endpoints' work with the driver sqlite3 by itself, and one connection. */
import { openPreparedFile } from '../../prepared-sqlite'
import { STATEMENTS } from './statements'
import { type CreatedPost, judge, type OpenStore, type PostRow, toPost, type User } from './store'

export const open: OpenStore = async (url) => {
  const file = await openPreparedFile(url.slice('sqlite:///'.length))
  const prepared = (name: keyof typeof STATEMENTS) =>
    // Of SQLite's there is none that locks rows: whoever may write has the whole file.
    file.prepare(STATEMENTS[name].replace(' FOR UPDATE', '').replace(/\$(\d)/g, '?$1'))
  const user = await prepared('user')
  const post = await prepared('post')
  const posts = await prepared('posts')
  const createPost = await prepared('createPost')
  const accounts = await prepared('lockAccounts')
  const addToBalance = await prepared('addToBalance')
  const writeDown = await prepared('writeDown')

  return {
    user: async (id) => (await user<User>(id))[0],

    async post(id) {
      const [row] = await post<PostRow>(id)
      return row && toPost(row)
    },

    posts: async (limit) => (await posts<PostRow>(limit)).map(toPost),

    async createPost({ title, content, author_id }) {
      const [created] = await createPost<CreatedPost>(title, content, author_id)
      if (created === undefined) throw new Error('nothing was inserted')
      return created
    },

    transfer: (transfer) =>
      file.transaction(async () => {
        const { from, to, amount } = transfer
        const verdict = judge(await accounts<{ id: number; balance: number }>(from, to), transfer)
        if (verdict === 'done') {
          await addToBalance(from, -amount)
          await addToBalance(to, amount)
          await writeDown(from, to, amount)
        }
        return verdict
      }),
  }
}
