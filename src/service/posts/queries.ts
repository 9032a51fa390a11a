/** Queries on posts, each of which is read together with its author in one statement. */
import { type Queryable, sql } from '../../database'
import { afterCursor, conjunction, orderAndLimit } from '../keyset-sql'
import type { Page } from '../pagination'

export interface Post {
  id: number
  title: string
  content: string
  author: { id: number; username: string }
}

interface PostRow {
  id: number
  title: string
  content: string
  author_id: number
  username: string
}

const POST_WITH_AUTHOR = sql`
  SELECT posts.id, posts.title, posts.content, posts.author_id, users.username
  FROM posts JOIN users ON users.id = posts.author_id`

function toPost({ id, title, content, author_id, username }: PostRow): Post {
  return { id, title, content, author: { id: author_id, username } }
}

const ORDERS = { id: sql`posts.id`, title: sql`posts.title` }

export async function listPosts(
  database: Queryable,
  page: Page<'title'>,
  { author_id }: { readonly author_id?: number | undefined } = {},
): Promise<Post[]> {
  const wanted = conjunction(
    afterCursor(page, ORDERS),
    author_id === undefined ? undefined : sql`posts.author_id = ${author_id}`,
  )
  const rows = await database.fetchAll<PostRow>(
    sql`${POST_WITH_AUTHOR} WHERE ${wanted} ${orderAndLimit(page, ORDERS)}`,
  )
  return rows.map(toPost)
}

/** Returns the posts of one user, or null if there is no such user. */
export async function listPostsOf(
  database: Queryable,
  userId: number,
  page: Page<'title'>,
): Promise<Post[] | null> {
  // The outer join keeps the user's row when there are no posts, which tells the two cases apart.
  const rows = await database.fetchAll<PostRow | (PostRow & { id: null })>(
    sql`SELECT posts.id, posts.title, posts.content, users.id AS author_id, users.username
        FROM users LEFT JOIN posts ON posts.author_id = users.id AND ${afterCursor(page, ORDERS)}
        WHERE users.id = ${userId} ${orderAndLimit(page, ORDERS)}`,
  )
  return rows.length === 0 ? null : rows.filter((row) => row.id !== null).map(toPost)
}

export async function findPost(database: Queryable, id: number): Promise<Post | null> {
  const row = await database.fetchOne<PostRow>(sql`${POST_WITH_AUTHOR} WHERE posts.id = ${id}`)
  return row === null ? null : toPost(row)
}

/** @throws ForeignKeyViolationError when there is no such author */
export async function createPost(
  database: Queryable,
  post: { title: string; content: string; author_id: number },
): Promise<{ id: number; title: string; author_id: number }> {
  const { title, content, author_id } = post
  const id = await database.fetchVal<number>(
    'INSERT INTO posts (title, content, author_id) VALUES (:title, :content, :author_id) RETURNING id',
    { title, content, author_id },
  )
  if (id === null) throw new Error('INSERT … RETURNING gave no row.')
  return { id, title, author_id }
}

/** Changes the given fields, and returns the post, or null if there is none. */
export async function changePost(
  database: Queryable,
  id: number,
  changes: { title?: string | undefined; content?: string | undefined },
): Promise<Post | null> {
  const { title = null, content = null } = changes
  const row = await database.fetchOne<PostRow>(
    `UPDATE posts SET title = COALESCE(:title, title), content = COALESCE(:content, content) WHERE id = :id
     RETURNING id, title, content, author_id,
       (SELECT username FROM users WHERE users.id = posts.author_id) AS username`,
    { id, title, content },
  )
  return row === null ? null : toPost(row)
}

export async function deletePost(database: Queryable, id: number): Promise<boolean> {
  const { rowCount } = await database.execute('DELETE FROM posts WHERE id = :id', { id })
  return rowCount > 0
}
