/** The page of the pool monitor, in a real browser. */
import { setTimeout as sleep } from 'node:timers/promises'
import express from 'express'
import type { Page } from 'playwright-core'
import { type Connection, Database, runInScope } from '../../src/database'
import type { Serving } from '../../src/express'
import { describeInBrowser } from '../support/browser'
import { standingCheck } from '../support/standing-check'
import { waitFor } from '../support/wait-for'
import { serveQuietly } from './support'

const WIDE = { width: 1440, height: 900 }
const PHONE = { width: 375, height: 740 }
/** A question keeps the browser and this process from their work. */
const PATIENCE = { timeoutMillis: 10_000, pollMillis: 50 }

describeInBrowser('the page of the monitor', (browser) => {
  let shop: Database
  let stock: Database
  let serving: Serving
  let held: Connection[] = []

  beforeEach(async () => {
    const pool = { acquireTimeoutMillis: 20_000 }
    shop = new Database('sqlite:///:memory:', { name: 'shop', pool })
    stock = new Database('sqlite:///:memory:', { name: 'stock', pool })
    serving = await serveQuietly(express(), { databases: [shop, stock], admin: { port: 0 } })
  })
  afterEach(async () => {
    for (const connection of held) await connection.release()
    held = []
    await serving.close()
  })
  standingCheck()

  const open = (options: Parameters<typeof browser.open>[1] = { viewport: WIDE }): Promise<Page> =>
    browser.open(serving.adminUrl ?? '', options)
  const hold = async (database: Database, label: string): Promise<void> => {
    held.push(await runInScope({ label }, () => database.acquire()))
  }
  const release = async (): Promise<void> => {
    for (const connection of held.splice(0)) await connection.release()
  }
  const hasText = (page: Page, selector: string, text: string): Promise<unknown> =>
    waitFor(async () => (await page.locator(selector).allTextContents()).join('\n').includes(text), {
      ...PATIENCE,
      what: `'${text}' in ${selector}`,
    })
  const lacksText = (page: Page, selector: string, text: string): Promise<unknown> =>
    waitFor(async () => !(await page.locator(selector).allTextContents()).join('\n').includes(text), {
      ...PATIENCE,
      what: `no '${text}' in ${selector}`,
    })

  it('shows who holds a connection as soon as the pool is full, and that nobody does afterwards', async () => {
    const page = await open()
    await hasText(page, '#database-1-verdict .level', 'healthy')
    await hold(shop, 'POST /checkout')
    const waiting = shop.fetchVal('select 1')
    await hasText(page, '#database-1 [data-table="holders"] tbody', 'POST /checkout')
    await hasText(page, '#database-1-verdict', 'The pool is full')
    await hasText(page, '#database-1-verdict', 'POST /checkout holds 1 of the 1 in use')
    await hasText(page, '#announcer', 'shop is critical')
    await hasText(page, '#database-2-verdict .level', 'healthy')
    await release()
    await waiting
    await lacksText(page, '#database-1 [data-table="holders"] tbody', 'POST /checkout')
    await hasText(page, '#database-1 [data-table="statements"] tbody', 'select ?')
    await lacksText(page, '#database-1-verdict .level', 'critical')
    expect(browser.complaints).toEqual([])
  })

  it('shows labels and statements as text, whatever they are made of', async () => {
    await hold(shop, '<img src=x onerror=alert(1)>')
    await stock.fetchVal(`select 1 as "<script>alert('owned')</script>"`)
    const page = await open()
    await hasText(page, '[data-table="holders"] tbody', '<img src=x onerror=alert(1)>')
    await hasText(page, '[data-table="statements"] tbody', '<script>alert')
    expect(await page.locator('main img, main script').count()).toBe(0)
    expect(browser.complaints).toEqual([])
  })

  it('is dark where the system is', async () => {
    const page = await open({ viewport: WIDE, colorScheme: 'dark' })
    await hold(shop, 'GET /report')
    await hasText(page, '#database-1 [data-table="holders"] tbody', 'GET /report')
    const background = await page.evaluate('getComputedStyle(document.body).backgroundColor')
    expect(background).toBe('rgb(13, 18, 24)')
  })

  it.each([
    [PHONE, 'light'],
    [PHONE, 'dark'],
    [{ width: 320, height: 740 }, 'light'],
    [{ width: 768, height: 900 }, 'light'],
  ] as const)('fits into %j, %s, without scrolling sideways', async (viewport, colorScheme) => {
    await hold(shop, 'GET /a-route-whose-name-is-so-long-that/it/does/not/fit/into/one/line/of/a/telephone')
    await stock
      .fetchVal('select wrong from a_table_with_quite_a_long_name where no_column_is_called_like_that = 1')
      .catch(() => {})
    const page = await open({ viewport, colorScheme, deviceScaleFactor: 2 })
    await hasText(page, '#database-1 [data-table="holders"] tbody', 'GET /a-route')
    await hasText(page, '#database-2 .errors', 'UNDEFINED_NAME')
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(viewport.width)
    const broken = await page.evaluate(
      "[...document.querySelectorAll('.compact td.number')].filter((cell) => cell.offsetHeight > 40).length",
    )
    expect(viewport.width < PHONE.width || broken === 0).toBe(true)
  })

  it('can be used by the keyboard alone', async () => {
    await shop.fetchVal('select 1')
    const page = await open()
    await hasText(page, '#database-1 [data-table="statements"] tbody', 'select')
    const focused = (): Promise<unknown> =>
      page.evaluate(
        'document.activeElement.id || document.activeElement.className || document.activeElement.textContent',
      )
    const seen: unknown[] = []
    for (let press = 0; press < 10; press += 1) {
      await page.keyboard.press('Tab')
      seen.push(await focused())
    }
    expect(seen.slice(0, 5)).toEqual([
      'skip',
      'pause',
      expect.stringContaining('shop'),
      expect.stringContaining('stock'),
      'plot',
    ])
    expect(seen.slice(5)).toEqual(['Total', 'Mean', 'Max', 'Calls', 'Errors'])
    await page.keyboard.press('Enter')
    expect(await page.locator('#database-1 [aria-sort="descending"]').textContent()).toBe('Errors')
    await page.locator('#database-1 .plot').focus()
    await page.keyboard.press('ArrowLeft')
    await hasText(page, '#database-1 .readout', 'in use')
    await page.locator('#pause').focus()
    await page.keyboard.press('Space')
    await hasText(page, '#stream', 'Paused')
    await hold(shop, 'GET /while-paused')
    await sleep(1500)
    expect(await page.locator('#database-1 [data-table="holders"]').textContent()).not.toContain(
      'while-paused',
    )
    await page.keyboard.press('Space')
    await hasText(page, '#database-1 [data-table="holders"]', 'while-paused')
  })

  it('says when the server is gone', async () => {
    const page = await open()
    await hasText(page, '#stream', 'Live')
    await serving.close()
    await hasText(page, '#stream', 'No news')
    expect(await page.locator('#stream').getAttribute('data-state')).toBe('lost')
    expect(await page.locator('main').getAttribute('class')).toBe('stale')
  })
})
