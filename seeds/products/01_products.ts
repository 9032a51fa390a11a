/** A few products, for a database that has none yet. */
import type { Knex } from 'knex'

/** Prices in minor units: 4.80 is 480. */
const PRODUCTS = [
  { name: 'Rye flour, 1 kg', description: 'Stone-ground, dark, from the first pond.', price: 480 },
  { name: 'Wheat flour, 1 kg', description: 'Fine and white, for cakes.', price: 390 },
  { name: 'Oat flakes, 500 g', description: 'Rolled on the small stones.', price: 290 },
  { name: 'Oak plank, 2 m', description: 'Sawn with the evening water, planed by hand.', price: 3_450 },
  { name: 'Millstone, used', description: 'Two centuries of service. Collection only.', price: 89_900 },
  { name: 'Pond water, 1 l', description: null, price: 0 },
]

export async function seed(knex: Knex): Promise<void> {
  if (await knex('products').first('id')) return
  await knex('products').insert(PRODUCTS)
}
