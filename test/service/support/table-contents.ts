/** All rows of the service, and which of them a request may have changed. */
import type { Database } from '../../../src/database'
import type { RawAnswer } from './raw-http'

/** Every table that requests can change. */
const TABLES = { main: ['users', 'posts', 'accounts', 'transfers'], products: ['products'] } as const

/** The rows, by names such as `users/1`. */
export type Contents = ReadonlyMap<string, Readonly<Record<string, unknown>>>

export async function contentsOf(main: Database, products: Database): Promise<Contents> {
  const rows = async (database: Database, table: string): Promise<[string, Record<string, unknown>][]> => {
    const found = await database.fetchAll<{ id: number }>(`SELECT * FROM ${table} ORDER BY id`)
    return found.map((row) => [`${table}/${row.id}`, { ...row }])
  }
  const all = await Promise.all([
    ...TABLES.main.map((table) => rows(main, table)),
    ...TABLES.products.map((table) => rows(products, table)),
  ])
  return new Map(all.flat())
}

export function idsIn(contents: Contents, table: string): number[] {
  const names = [...contents.keys()].filter((name) => name.startsWith(`${table}/`))
  return names.map((name) => Number(name.slice(table.length + 1)))
}

/** The rows that became more, less, or different. */
export function changesBetween(before: Contents, after: Contents): string[] {
  const names = new Set([...before.keys(), ...after.keys()])
  const textOf = (contents: Contents, name: string): string => JSON.stringify(contents.get(name) ?? null)
  return [...names].filter((name) => textOf(before, name) !== textOf(after, name))
}

/**
 * Whether what changed is what the client was told, in one answer, to have changed. Where the bytes after a request are
 * no other request, Node answers those first, with 400 and no body, and the request may have been a good one.
 */
export function isAnnounced(before: Contents, after: Contents, answers: readonly RawAnswer[]): boolean {
  const changed = changesBetween(before, after)
  if (changed.length === 0) return answers.every(({ status }) => status !== 201)
  const [answer] = answers
  if (answer === undefined || answers.length > 1) return false
  const { status, headers, body } = answer
  if (status === 201) return changed.join() === headers['location']?.slice(1)
  if (status === 200) {
    const { id } = JSON.parse(body) as { id?: number }
    if (id !== undefined) return changed.length === 1 && changed[0]?.endsWith(`/${id}`) === true
    return isTransfer(changed) && totalOf(before) === totalOf(after)
  }
  if (status === 400 && body === '') return isOneWrite(changed, after)
  return status === 204 && changed.every((name) => !after.has(name)) && isOneWrite(changed, after)
}

/** One row, a user with the posts that go with it, or a transfer. */
function isOneWrite(changed: readonly string[], after: Contents): boolean {
  if (changed.length === 1) return true
  const others = changed.filter((name) => !name.startsWith('posts/'))
  if (others.every((name) => name.startsWith('users/')))
    return others.length === 1 && !after.has(others.join())
  return isTransfer(changed)
}

/** Two accounts, and the line in their history. */
function isTransfer(changed: readonly string[]): boolean {
  const count = (table: string): number => changed.filter((name) => name.startsWith(`${table}/`)).length
  return changed.length === 3 && count('accounts') === 2 && count('transfers') === 1
}

function totalOf(contents: Contents): bigint {
  let total = 0n
  for (const [name, row] of contents)
    if (name.startsWith('accounts/')) total += BigInt(String(row['balance']))
  return total
}
