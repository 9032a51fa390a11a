/** The endpoints' work with one of SQLite's drivers by itself, and one connection. */
import { openPreparedFile } from '../../sqlite-drivers'
import { STATEMENTS } from './statements'
import { type CreatedPost, judge, type OpenStore, type PostRow, toPost, type User } from './store'

export const open: OpenStore = async (url) => {
  const file = await openPreparedFile(url)
  // Of SQLite's there is none that locks rows: whoever may write has the whole file.
  const text = (name: keyof typeof STATEMENTS): string =>
    STATEMENTS[name].replace(' FOR UPDATE', '').replace(/\$(\d)/g, '?$1')
  const user = await file.all(text('user'))
  const post = await file.all(text('post'))
  const posts = await file.all(text('posts'))
  const createPost = await file.all(text('createPost'))
  const accounts = await file.all(text('lockAccounts'))
  const addToBalance = await file.run(text('addToBalance'))
  const writeDown = await file.run(text('writeDown'))

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
