/** A real browser, where one is installed: Chromium from the system's packages, without a window. */
import { existsSync, mkdirSync } from 'node:fs'
import path from 'node:path'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

/** The path of Chromium: TEST_CHROMIUM, or where Debian and other systems put it; undefined if it is not installed. */
export const chromiumPath = [process.env['TEST_CHROMIUM'] ?? '', ...PLACES].find(
  (place) => place !== '' && existsSync(place),
)

const artifacts = path.resolve(__dirname, '../../artifacts')

/** Registers tests that need a browser, or prints that they are left out. */
export function describeInBrowser(name: string, tests: (browser: TestBrowser) => void): void {
  if (chromiumPath === undefined) {
    // eslint-disable-next-line no-console -- a reader of the output must see what was not tested
    console.warn(
      `SKIPPED: ${name}. No Chromium is installed: apt-get install chromium, or set TEST_CHROMIUM.`,
    )
    describe.skip(name, () => tests(new TestBrowser()))
    return
  }
  describe(name, () => {
    const browser = new TestBrowser()
    beforeAll(() => browser.launch())
    // Registered first, so that it runs last.
    afterAll(() => browser.close())
    afterEach(() => browser.closePages())
    tests(browser)
  })
}

export class TestBrowser {
  /** Errors in the pages' consoles: failed scripts, and violations of the content security policy. */
  complaints: string[] = []
  #browser: Browser | undefined
  readonly #pages: Page[] = []

  async launch(): Promise<void> {
    this.#browser = await chromium.launch({
      executablePath: chromiumPath ?? '',
      // As root, in a container, there is no sandbox.
      args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'],
    })
  }

  async close(): Promise<void> {
    await this.#browser?.close()
  }

  async open(url: string, options: BrowserContextOptions = {}): Promise<Page> {
    if (this.#browser === undefined) throw new Error('The browser is not running.')
    const context = await this.#browser.newContext(options)
    const page = await context.newPage()
    this.#pages.push(page)
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) this.complaints.push(message.text())
    })
    page.on('pageerror', (error) => this.complaints.push(error.message))
    await page.goto(url)
    return page
  }

  /** Each page leaves a picture in artifacts/, named after the test. */
  async closePages(): Promise<void> {
    const name = (expect.getState().currentTestName ?? 'page').replace(/[^\w]+/g, '-').toLowerCase()
    mkdirSync(artifacts, { recursive: true })
    for (const [index, page] of this.#pages.splice(0).entries()) {
      const suffix = index === 0 ? '' : `-${index + 1}`
      await page.screenshot({ path: path.join(artifacts, `${name}${suffix}.png`), fullPage: true })
      await page.context().close()
    }
    this.complaints = []
  }
}
