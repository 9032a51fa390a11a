/** The page at /docs, in a real browser: it shows every operation, runs them, and asks nobody but this service. */
import { pino } from 'pino'
import request from 'supertest'
import manifest from '../../package.json'
import { Database } from '../../src/database'
import type { Serving } from '../../src/express'
import { createApp } from '../../src/service/app'
import { migrate } from '../../src/service/migrations'
import { serveQuietly } from '../express/support'
import { describeInBrowser } from '../support/browser'
import { standingCheck } from '../support/standing-check'
import { waitFor } from '../support/wait-for'

/** A question keeps the browser and this process from their work. */
const PATIENCE = { timeoutMillis: 20_000, pollMillis: 50 }

/** Serves the service to the tests of a group, in memory. Before the standing check, which is to find it closed. */
function served(): { readonly url: string } {
  const found = { url: '' }
  let serving: Serving
  beforeEach(async () => {
    const main = new Database('sqlite://', { name: 'main' })
    const products = new Database('sqlite://', { name: 'products' })
    serving = await serveQuietly(createApp({ main, products, logger: pino({ level: 'silent' }) }), {
      databases: [main, products],
      onStartup: async () => {
        await migrate(main, 'main', { seed: true })
        await migrate(products, 'products', { seed: true })
      },
    })
    found.url = serving.url
  })
  afterEach(() => serving.close())
  return found
}

describe('The page at /docs', () => {
  const serving = served()
  standingCheck()

  it('is of files of this server, with a policy that forbids all others and whatever is written into a page', async () => {
    for (const [address, prefix] of [
      ['/docs', 'docs/'],
      ['/docs/', ''],
      ['/docs/?a=/', ''],
      ['/docs?a=/', 'docs/'],
    ] as const) {
      const { headers, text } = await request(serving.url).get(address).expect(200)
      const policy = headers['content-security-policy'] as string
      expect(policy).toMatch(/^default-src 'none'; script-src 'self'; /)
      expect(policy).not.toMatch(/unsafe|https?:|\*/)
      const links = [...text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link]) => link ?? '')
      expect(links).toContain(`${prefix}start.js`)
      expect(text).not.toMatch(/<script[^>]*>[^<]|<style| style=| on\w+=/)
      for (const link of links)
        await request(serving.url)
          .get(new URL(link, serving.url + address).pathname)
          .expect(200)
    }
  })

  it('gives away no other file of the package', async () => {
    for (const name of ['package.json', 'index.html', 'swagger-ui-bundle.js.map', '..%2fpackage.json'])
      await request(serving.url).get(`/docs/${name}`).expect(404)
    await request(serving.url).post('/docs').expect(405)
    await request(serving.url).post('/openapi.json').expect(405)
  })
})

describeInBrowser('The page at /docs', (browser) => {
  const serving = served()
  standingCheck()

  it('shows every operation, runs one, and sends no request to anybody else', async () => {
    const page = await browser.open('about:blank', { viewport: { width: 1280, height: 900 } })
    const asked: string[] = []
    page.on('request', (one) => void asked.push(one.url()))
    await page.goto(`${serving.url}/docs`)
    const { body } = await request(serving.url).get('/openapi.json').expect(200)
    const { paths } = body as {
      paths: Record<string, Record<string, { summary: string }>>
    }
    const expected = Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { summary }]) => `${method.toUpperCase()}${path}${summary}`),
    )
    const shown = await waitFor(async () => {
      const found = await page.locator('.opblock-summary-control').allTextContents()
      return found.length >= expected.length && found
    }, PATIENCE)
    // It puts invisible spaces where a long address may be broken.
    expect(shown.map((text) => text.replaceAll('\u200b', '')).toSorted()).toEqual(expected.toSorted())

    await page.locator('#operations-Users-getUsersById .opblock-summary-control').click()
    await page.locator('#operations-Users-getUsersById input').fill('1')
    await page.locator('#operations-Users-getUsersById .execute').click()
    const answer = page.locator('#operations-Users-getUsersById .live-responses-table')
    await waitFor(async () => (await answer.allTextContents()).join('').includes('ada@example.com'), PATIENCE)

    expect(asked).toContain(`${serving.url}/users/1`)
    const elsewhere = asked.filter((url) => !url.startsWith(`${serving.url}/`) && !url.startsWith('data:'))
    expect(elsewhere).toEqual([])
    expect(browser.complaints).toEqual([])
    // The page is large for a machine that is busy.
  }, 90_000)

  it('is as dark as the system, and shows the version of the package', async () => {
    const page = await browser.open(`${serving.url}/docs`, {
      viewport: { width: 1280, height: 900 },
      colorScheme: 'dark',
    })
    await page.locator('.opblock').first().waitFor()
    const version = page.locator('.info .version').first()
    expect((await version.textContent())?.trim()).toBe(manifest.version)
    /** From 0 to 255, of what the browser computes for a colour. */
    const brightness = async (selector: string, property: string): Promise<number> => {
      const one = `getComputedStyle(document.querySelector('${selector}')).${property}`
      const [red = 0, green = 0, blue = 0] =
        (await page.evaluate<string>(one)).match(/\d+/g)?.map(Number) ?? []
      return (red + green + blue) / 3
    }
    for (const [selector, background] of [
      ['.info .title', 'html'],
      ['.opblock-summary-description', 'html'],
    ] as const) {
      expect(await brightness(background, 'backgroundColor')).toBeLessThan(60)
      expect(await brightness(selector, 'color')).toBeGreaterThan(160)
    }
    await page.emulateMedia({ colorScheme: 'light' })
    await waitFor(async () => (await brightness('.info .title', 'color')) < 100, PATIENCE)
    expect(browser.complaints).toEqual([])
  }, 90_000)
})
