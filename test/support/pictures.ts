/** A program that takes the pictures of docs/: the monitor of two databases under load, one of them in trouble, and /docs. */
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import express from 'express'
import { pino } from 'pino'
import type { BrowserContextOptions, Page } from 'playwright-core'
import { Database, runInScope } from '../../src/database'
import { serve } from '../../src/express'
import { createApp } from '../../src/service/app'
import { TestBrowser } from './browser'
import { startPostgres } from './postgres-server'

const LOAD_MILLIS = Number(process.env['LOAD_MILLIS'] ?? 60_000)
const TROUBLE_MILLIS = 6000

const STATEMENTS: readonly (readonly [label: string, sql: string, pauseMillis: number])[] = [
  ['GET /products', 'SELECT id, name, price FROM products WHERE price < 500 ORDER BY id LIMIT 50', 30],
  ['GET /products/:id', "SELECT * FROM products WHERE name = 'Rye flour'", 25],
  ['GET /orders/:id', 'SELECT o.id, o.total FROM orders o WHERE o.id IN (1, 2, 3)', 40],
  ['POST /orders', 'INSERT INTO orders (total) VALUES (480)', 120],
  ['GET /report', 'SELECT count(*), sum(total) FROM orders, generate_series(1, 300) GROUP BY total', 700],
]

/** Small enough for a repository, at one point for each pixel. */
const PICTURES: readonly (readonly [name: string, options: BrowserContextOptions])[] = [
  ['monitor', { viewport: { width: 1200, height: 760 } }],
  ['monitor-dark', { viewport: { width: 1200, height: 760 }, colorScheme: 'dark' }],
  ['monitor-phone', { viewport: { width: 390, height: 760 } }],
]
const DOCS_PICTURES: readonly (readonly [name: string, options: BrowserContextOptions])[] = [
  ['docs-page', { viewport: { width: 1000, height: 640 } }],
  ['docs-page-dark', { viewport: { width: 1000, height: 640 }, colorScheme: 'dark' }],
]

/** Works as the clients of a small shop do, until it is told to end. */
async function work(database: Database, signal: AbortSignal): Promise<void> {
  const clients = STATEMENTS.map(async ([label, sql, pauseMillis]) => {
    const isPostgres = database.url.dialect === 'postgresql'
    while (!signal.aborted) {
      const text = isPostgres ? sql : sql.replace(', generate_series(1, 300)', '')
      await runInScope({ label }, () => database.fetchAll(text)).catch(() => {})
      await sleep(pauseMillis * (0.5 + Math.random()))
    }
  })
  await Promise.all(clients)
}

async function checkout(database: Database, millis: number): Promise<void> {
  await runInScope({ label: 'POST /checkout' }, () =>
    database.transaction(async (tx) => {
      await tx.execute('UPDATE products SET price = price WHERE id = :id', {
        id: 1 + Math.floor(Math.random() * 900),
      })
      await sleep(millis)
    }),
  ).catch(() => {})
}

async function prepare(database: Database): Promise<void> {
  await database.execute('CREATE TABLE products (id integer PRIMARY KEY, name text, price integer)')
  await database.execute('CREATE TABLE orders (id integer, total integer)')
  const rows = Array.from({ length: 1000 }, (_, id) => ({ id, name: `Flour ${id}`, price: id }))
  await database.executeMany('INSERT INTO products (id, name, price) VALUES (:id, :name, :price)', rows)
}

async function takeMonitor(browser: TestBrowser, folder: string): Promise<void> {
  const postgres = await startPostgres()
  const shop = new Database(postgres.url, {
    name: 'shop',
    pool: { size: 3, maxOverflow: 1, leakThresholdMillis: 4500, acquireTimeoutMillis: 2000 },
  })
  const stock = new Database('sqlite:///:memory:', { name: 'stock' })
  const serving = await serve(express(), {
    port: 0,
    host: '127.0.0.1',
    databases: [shop, stock],
    admin: { port: 0 },
  })
  const over = new AbortController()
  try {
    for (const database of [shop, stock]) await prepare(database)
    const working = [work(shop, over.signal), work(stock, over.signal)]
    const calm = LOAD_MILLIS - TROUBLE_MILLIS
    for (let spent = 0; spent < calm; spent += 500) {
      if (Math.random() < 0.4) void checkout(shop, 500 + 1000 * Math.random())
      await sleep(500)
    }
    const pages: [name: string, page: Page][] = []
    for (const [name, options] of PICTURES) {
      pages.push([name, await browser.open(serving.adminUrl ?? '', options)])
    }
    const troubles = Array.from({ length: 4 }, async (_, index) => {
      await sleep(index * 150)
      await checkout(shop, TROUBLE_MILLIS)
    })
    await sleep(TROUBLE_MILLIS - 2500)
    for (const [name, page] of pages) {
      await page.locator('#database-2-verdict[data-level="healthy"]').waitFor()
      await page.screenshot({ path: path.join(folder, `${name}.png`) })
    }
    const errors = pages[0]?.[1].locator('#database-1 [data-errors]')
    await errors?.locator('summary').first().click()
    await errors?.screenshot({ path: path.join(folder, 'monitor-errors.png') })
    over.abort()
    await Promise.all([...working, ...troubles])
  } finally {
    over.abort()
    await serving.close()
    await postgres.stop()
  }
}

async function takeDocs(browser: TestBrowser, folder: string): Promise<void> {
  const main = new Database('sqlite://', { name: 'main' })
  const products = new Database('sqlite://', { name: 'products' })
  const app = createApp({ main, products, logger: pino({ level: 'silent' }) })
  const serving = await serve(app, { port: 0, host: '127.0.0.1', databases: [main, products] })
  try {
    for (const [name, options] of DOCS_PICTURES) {
      const page = await browser.open(`${serving.url}/docs`, options)
      await page.locator('.opblock').first().waitFor()
      await page.screenshot({ path: path.join(folder, `${name}.png`) })
    }
  } finally {
    await serving.close()
  }
}

async function main(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true })
  const browser = new TestBrowser()
  await browser.launch()
  try {
    await takeDocs(browser, folder)
    await takeMonitor(browser, folder)
  } finally {
    await browser.close()
  }
}

void main(process.argv[2] ?? 'artifacts')
