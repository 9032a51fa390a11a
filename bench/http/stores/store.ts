/** What every peer's way to the database does for the endpoints: the same work, whatever it is written with. */

export interface User {
  readonly id: number
  readonly username: string
  readonly email: string
}

export interface Post {
  readonly id: number
  readonly title: string
  readonly content: string
  readonly author: { readonly id: number; readonly username: string }
}

/** A post as a join gives it. */
export interface PostRow {
  readonly id: number
  readonly title: string
  readonly content: string
  readonly author_id: number
  readonly username: string
}

export interface NewPost {
  readonly title: string
  readonly content: string
  readonly author_id: number
}

export interface CreatedPost {
  readonly id: number
  readonly title: string
  readonly author_id: number
}

export interface Transfer {
  readonly from: number
  readonly to: number
  readonly amount: number
}

export type Transferred = 'done' | 'unknown account' | 'insufficient funds'

export interface Store {
  user(id: number): Promise<User | undefined>
  post(id: number): Promise<Post | undefined>
  /** The first posts, by id. */
  posts(limit: number): Promise<Post[]>
  createPost(post: NewPost): Promise<CreatedPost>
  /** Locks both rows in the order of their ids, checks, and moves the money, in one transaction. */
  transfer(transfer: Transfer): Promise<Transferred>
}

/** What every peer's file exports. */
export type OpenStore = (url: string) => Store | Promise<Store>

export const POOL_SIZE = 10

/** Longer than any stack waits for its turn, so that nobody is measured while opening connections anew. */
export const IDLE_MILLIS = 3_600_000

export function toPost({ id, title, content, author_id, username }: PostRow): Post {
  return { id, title, content, author: { id: author_id, username } }
}

/** Whether both rows are there, and the payer has the money. A bigint comes as text. */
export function judge(
  rows: readonly { readonly id: number; readonly balance: string | number }[],
  { from, amount }: Transfer,
): Transferred {
  if (rows.length < 2) return 'unknown account'
  return Number(rows.find((row) => row.id === from)?.balance) < amount ? 'insufficient funds' : 'done'
}
