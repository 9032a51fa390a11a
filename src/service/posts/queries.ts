/** Queries on posts, each of which is read together with its author in one statement. */
import { type Database, keyset, type KeysetPage } from '../../database'
import { given } from '../given'
import { insertRow } from '../insert-row'
import { type Page, qualified } from '../pagination'
import type { Row, Tables } from '../tables'

export interface Post {
  id: number
  title: string
  content: string
  author: { id: number; username: string }
}

type PostRow = Pick<Row<'posts'>, 'id' | 'title' | 'content' | 'author_id'> & Pick<Row<'users'>, 'username'>

const COLUMNS = ['id', 'title', 'content', 'author_id'] as const

function postsWithAuthors(database: Database<Tables>) {
  return database
    .table('posts')
    .join('users', 'users.id', 'posts.author_id')
    .select('posts.id', 'posts.title', 'posts.content', 'posts.author_id', 'users.username')
}

function toPost({ id, title, content, author_id, username }: PostRow): Post {
  return { id, title, content, author: { id: author_id, username } }
}

export async function listPosts(
  database: Database<Tables>,
  page: Page<'title'>,
  { author_id }: { readonly author_id?: number | undefined } = {},
): Promise<KeysetPage<Post>> {
  const posts = postsWithAuthors(database).where(given({ author_id }))
  const { rows, next } = await keyset<PostRow>(database, posts, {
    ...page,
    orderBy: qualified(page, 'posts'),
  })
  return { rows: rows.map(toPost), next }
}

export async function findPost(database: Database<Tables>, id: number): Promise<Post | null> {
  const row = await database.fetchOne<PostRow>(postsWithAuthors(database).where('posts.id', id))
  return row === null ? null : toPost(row)
}

/** @throws ForeignKeyViolationError when there is no such author */
export function createPost(
  database: Database<Tables>,
  { title, content, author_id }: { title: string; content: string; author_id: number },
): Promise<{ id: number; title: string; author_id: number }> {
  const posts = database.table('posts')
  return insertRow(database, posts.insert({ title, content, author_id }, ['id', 'title', 'author_id']))
}

/** Changes the given fields, and returns the post, or null if there is none. */
export async function changePost(
  database: Database<Tables>,
  id: number,
  { title, content }: { title?: string | undefined; content?: string | undefined },
): Promise<Post | null> {
  const { knex } = database
  const username = knex('users').select('username').where('users.id', knex.ref('posts.author_id'))
  const update = database
    .table('posts')
    .where({ id })
    .update(given({ title, content }))
    // Raw, because a query has no other way into RETURNING by Knex's types.
    .returning([...COLUMNS, knex.raw('? as ??', [username, 'username'])])
  const row = await database.fetchOne<PostRow>(update)
  return row === null ? null : toPost(row)
}

export async function deletePost(database: Database<Tables>, id: number): Promise<boolean> {
  const { rowCount } = await database.execute(database.table('posts').where({ id }).delete())
  return rowCount > 0
}
