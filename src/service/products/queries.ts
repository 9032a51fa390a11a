/** Queries on products, which have their own database. */
import { type Database, keyset, type KeysetPage } from '../../database'
import { given } from '../given'
import { insertRow } from '../insert-row'
import type { Page } from '../pagination'
import type { Row, Tables } from './tables'

export interface Product {
  id: number
  name: string
  description: string | null
  /** In minor units. */
  price: number
}

type ProductRow = Pick<Row<'products'>, keyof Product>

const COLUMNS = ['id', 'name', 'description', 'price'] as const

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

export async function listProducts(
  database: Database<Tables>,
  page: Page<'name' | 'price'>,
  { min_price, max_price }: ProductFilter = {},
): Promise<KeysetPage<Product>> {
  const products = database.table('products').select(...COLUMNS)
  if (min_price !== undefined) products.where('price', '>=', min_price)
  if (max_price !== undefined) products.where('price', '<=', max_price)
  const { rows, next } = await keyset(database, products, page)
  return { rows: rows.map(toProduct), next }
}

export async function findProduct(database: Database<Tables>, id: number): Promise<Product | null> {
  const product = database
    .table('products')
    .select(...COLUMNS)
    .where({ id })
  const row = await database.fetchOne(product)
  return row === null ? null : toProduct(row)
}

export async function createProduct(
  database: Database<Tables>,
  product: Omit<Product, 'id'>,
): Promise<Product> {
  const { name, description, price } = product
  const insert = database.table('products').insert({ name, description, price }, COLUMNS)
  return toProduct(await insertRow<ProductRow>(database, insert))
}

/** Changes the given fields; a description of null removes it. */
export async function changeProduct(
  database: Database<Tables>,
  id: number,
  changes: { name?: string | undefined; description?: string | null | undefined; price?: number | undefined },
): Promise<Product | null> {
  const { name, description, price } = changes
  const update = database.table('products').where({ id }).update(given({ name, description, price }), COLUMNS)
  const row = await database.fetchOne(update)
  return row === null ? null : toProduct(row)
}

export async function deleteProduct(database: Database<Tables>, id: number): Promise<boolean> {
  const { rowCount } = await database.execute(database.table('products').where({ id }).delete())
  return rowCount > 0
}
