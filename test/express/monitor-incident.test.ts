/** The page of the monitor while a pool is full: what one look at it tells, on screens of all widths. */
import express from 'express'
import type { Page } from 'playwright-core'
import { Database } from '../../src/database'
import type { Serving } from '../../src/express'
import { describeInBrowser } from '../support/browser'
import { eachDatabase } from '../support/each-database'
import { Incident } from '../support/incident'
import { waitFor } from '../support/wait-for'
import { serveQuietly } from './support'

const WIDTHS = [360, 768, 1024, 1440, 2560]
/** A question keeps the browser and this process from their work. */
const PATIENCE = { timeoutMillis: 15_000, pollMillis: 50 }
const CALLER = 'GET /orders/:id'

interface Box {
  readonly what: string
  readonly width: number
  readonly lines: number
  readonly letters: number
}

/** Of each text in a table or a list: how wide its place is, and in how many lines it stands. */
const BOXES = `[...document.querySelectorAll('main :is(td, th, summary) *, .verdict *')]
  .filter((one) => one.children.length === 0 && one.checkVisibility() && one.textContent.trim() !== '')
  .map((one) => {
    const { width } = one.closest('td, th, summary > *, p, dd, dt').getBoundingClientRect()
    const range = document.createRange()
    range.selectNodeContents(one)
    const lines = new Set([...range.getClientRects()].map(({ top }) => Math.round(top))).size
    return { what: one.textContent, width, lines, letters: one.textContent.length }
  })`

/** How much of each database's place has something in it, and how much of the window's width that place has. */
const COVERS = `[...document.querySelectorAll('.panels')].map((one) => {
  const around = one.getBoundingClientRect()
  const areas = [...one.querySelectorAll('.panel')].map((panel) => {
    const { top, width } = panel.getBoundingClientRect()
    const bottoms = [...panel.children].map((child) => child.getBoundingClientRect().bottom)
    return width * (Math.max(...bottoms) - top)
  })
  const share = areas.reduce((sum, area) => sum + area, 0) / (around.width * around.height)
  return { share, width: around.width / innerWidth }
})`

eachDatabase('the page of the monitor in an incident', (context) => {
  describeInBrowser('in a browser', (browser) => {
    let serving: Serving
    let incident: Incident
    let page: Page

    const text = (selector: string): Promise<string> =>
      page.locator(selector).evaluateAll((all) => all.map(({ textContent }) => textContent).join('\n'))
    const hasText = (selector: string, expected: string): Promise<unknown> =>
      waitFor(async () => (await text(selector)).includes(expected), {
        ...PATIENCE,
        what: `'${expected}' in ${selector}`,
      })
    const entry = (label: string): string => `.errors li:has(.label:text-is("${label}"))`

    beforeEach(async () => {
      const shop = context.track(
        new Database(context.url, {
          name: 'shop',
          pool: { size: 2, maxOverflow: 0, acquireTimeoutMillis: 1000, leakThresholdMillis: 500 },
        }),
      )
      const stock = context.track(new Database('sqlite:///:memory:', { name: 'stock' }))
      serving = await serveQuietly(express(), { databases: [shop, stock], admin: { port: 0 } })
      incident = new Incident(shop)
      await incident.begin()
      page = await browser.open(serving.adminUrl ?? '', { viewport: { width: 1440, height: 900 } })
      await hasText('#database-1 [data-table="leaks"] tbody', 'still out')
      await hasText('.errors', 'POOL_TIMEOUT')
      await hasText('#database-1-verdict .summary', 'The pool is full: all 2 connections are in use and 1')
    })
    afterEach(async () => {
      await incident.end()
      await serving.close()
    })

    it('tells on top what is wrong, who causes it, since when, and what to do', async () => {
      expect(await text('#database-1-verdict .level')).toBe('critical')
      const facts = await text('#database-1-verdict .facts > div')
      expect(facts).toMatch(
        /POST \/checkout holds 1 of the 2 in use, for .+, and runs nothing in an open transaction\./,
      )
      expect(facts).toMatch(
        /GET \/report holds 1 of the 2 in use, for .+, and runs a statement\. (select|with) /,
      )
      expect(facts).toMatch(/Taken at .*incident\.ts:\d+/)
      expect(facts).toMatch(/Since\d\d:\d\d:\d\d, (.+ ago|just now)/)
      expect(facts).toContain(
        'Move what POST /checkout does meanwhile out of the transaction. Look at the plans',
      )
      const { y, height } = (await page.locator('#database-1-verdict').boundingBox()) ?? {
        y: Infinity,
        height: 0,
      }
      expect(y + height).toBeLessThan(500)
      expect(browser.complaints).toEqual([])
    })

    it('has one entry for all timeouts of a route, whose whole message a click opens, or a key', async () => {
      const timeouts = page.locator(entry(CALLER))
      await waitFor(async () => Number.parseInt(await text(`${entry(CALLER)} .count`), 10) >= 13, PATIENCE)
      expect(await timeouts.count()).toBe(1)
      expect(await text(`${entry(CALLER)} .gist`)).toContain(`No connection to database 'shop' became free`)
      const message = timeouts.locator('pre')
      expect(await message.isVisible()).toBe(false)
      await timeouts.locator('summary').click()
      expect(await message.isVisible()).toBe(true)
      const whole = (await message.textContent()) ?? ''
      expect(whole).toMatch(/the connections are held by:\n {2}1\. .+\n {2}2\. .+\nLook for slow queries/)
      expect(whole).toContain('POST /checkout')
      expect(whole).toContain('GET /report')
      await page.keyboard.press('Enter')
      expect(await message.isVisible()).toBe(false)
      await page.keyboard.press('Space')
      expect(await message.isVisible()).toBe(true)
      const counted = Number.parseInt(await text(`${entry(CALLER)} .count`), 10)
      await waitFor(
        async () => Number.parseInt(await text(`${entry(CALLER)} .count`), 10) > counted,
        PATIENCE,
      )
      // It stays open, and the focus on it, while its figures go on.
      expect(await message.isVisible()).toBe(true)
      expect(await page.evaluate('document.activeElement.localName')).toBe('summary')
    })

    it('shows what an error is made of as text', async () => {
      const summary = page.locator(`${entry('GET /broken')} summary`)
      await summary.click()
      expect(await text(`${entry('GET /broken')} pre`)).toContain('<img src=x onerror=alert(1)>')
      expect(await page.locator('main img, .verdict img').count()).toBe(0)
      expect(browser.complaints).toEqual([])
    })

    it.each(['light', 'dark'] as const)(
      'can be read on screens of all widths, in %s colours',
      async (colorScheme) => {
        await page.emulateMedia({ colorScheme })
        for (const summary of await page.locator('.errors summary').all()) await summary.click()
        await page.mouse.move(0, 0)
        for (const width of WIDTHS) {
          await page.setViewportSize({ width, height: 900 })
          const boxes = await page.evaluate<Box[]>(BOXES)
          expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(width)
          expect(boxes.length).toBeGreaterThan(20)
          const narrow = boxes.filter(
            ({ letters, lines, width: place }) => letters > 16 && (place < 100 || letters / lines < 9),
          )
          expect({ width, narrow }).toEqual({ width, narrow: [] })
          const covers = await page.evaluate<{ share: number; width: number }[]>(COVERS)
          // The other database has little to show.
          expect(covers[0]?.share).toBeGreaterThan(0.75)
          expect(covers.map((one) => one.width > 0.85)).toEqual([true, true])
        }
      },
    )
  })
})
