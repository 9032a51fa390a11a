/** Queries on products, which have their own database. */
import { type Queryable, sql } from '../../database'
import { afterCursor, conjunction, orderAndLimit } from '../keyset-sql'
import type { Page } from '../pagination'

export interface Product {
  id: number
  name: string
  description: string | null
  /** In minor units. */
  price: number
}

/** PostgreSQL returns a bigint as text, because a number might not hold it. */
type ProductRow = Omit<Product, 'price'> & { price: number | string }

const COLUMNS = 'id, name, description, price'

function toProduct(row: ProductRow): Product {
  const price = Number(row.price)
  if (!Number.isSafeInteger(price))
    throw new RangeError(`The price of product ${row.id} is too large to be exact.`)
  return { ...row, price }
}

export interface ProductFilter {
  readonly min_price?: number | undefined
  readonly max_price?: number | undefined
}

const ORDERS = { id: sql`id`, name: sql`name`, price: sql`price` }

export async function listProducts(
  database: Queryable,
  page: Page<'name' | 'price'>,
  { min_price, max_price }: ProductFilter = {},
): Promise<Product[]> {
  const wanted = conjunction(
    afterCursor(page, ORDERS),
    min_price === undefined ? undefined : sql`price >= ${min_price}`,
    max_price === undefined ? undefined : sql`price <= ${max_price}`,
  )
  const rows = await database.fetchAll<ProductRow>(
    sql`SELECT id, name, description, price FROM products WHERE ${wanted} ${orderAndLimit(page, ORDERS)}`,
  )
  return rows.map(toProduct)
}

export async function findProduct(database: Queryable, id: number): Promise<Product | null> {
  const row = await database.fetchOne<ProductRow>(`SELECT ${COLUMNS} FROM products WHERE id = :id`, { id })
  return row === null ? null : toProduct(row)
}

export async function createProduct(database: Queryable, product: Omit<Product, 'id'>): Promise<Product> {
  const { name, description, price } = product
  const row = await database.fetchOne<ProductRow>(
    `INSERT INTO products (name, description, price) VALUES (:name, :description, :price) RETURNING ${COLUMNS}`,
    { name, description, price },
  )
  if (row === null) throw new Error('INSERT … RETURNING gave no row.')
  return toProduct(row)
}

/** Changes the given fields; a description of null removes it. */
export async function changeProduct(
  database: Queryable,
  id: number,
  changes: { name?: string | undefined; description?: string | null | undefined; price?: number | undefined },
): Promise<Product | null> {
  const { name = null, description = null, price = null } = changes
  const row = await database.fetchOne<ProductRow>(
    `UPDATE products SET name = COALESCE(:name, name), price = COALESCE(:price, price),
       description = CASE WHEN :keepsDescription THEN description ELSE :description END
     WHERE id = :id RETURNING ${COLUMNS}`,
    { id, name, description, price, keepsDescription: changes.description === undefined },
  )
  return row === null ? null : toProduct(row)
}

export async function deleteProduct(database: Queryable, id: number): Promise<boolean> {
  const { rowCount } = await database.execute('DELETE FROM products WHERE id = :id', { id })
  return rowCount > 0
}
