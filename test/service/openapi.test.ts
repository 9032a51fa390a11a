/** The OpenAPI document: valid, and matched by every response of a running service. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { pino } from 'pino'
import type { Serving } from '../../src/express'
import { createApp } from '../../src/service/app'
import { serveQuietly } from '../express/support'
import { type Operation, SpecifiedService } from './support/openapi'
import { eachService } from './support/open-service'

/** Sent only while a server shuts down, which test/express/draining.test.ts tests. */
const ELSEWHERE = ['408']
const UNKNOWN_ID = 2_147_483_647

eachService(
  'the OpenAPI document',
  (service) => {
    let specified: SpecifiedService

    beforeEach(async () => {
      specified = await SpecifiedService.of(service.url)
    })

    /** Rows for each path to find. */
    async function fill(): Promise<void> {
      for (const name of ['ada', 'grace']) {
        const { id } = await specified.create('/users', { username: name, email: `${name}@example.com` })
        await specified.create('/posts', { title: name, content: 'Text', author_id: id })
        await specified.create('/accounts', { owner: name, balance: 1000 })
        await specified.create('/products', { name, price: 100 })
      }
    }

    it('is valid by the schema of OpenAPI 3.1', async () => {
      const folder = await mkdtemp(path.join(tmpdir(), 'millpond-openapi-'))
      const check = async (document: object): Promise<string> => {
        const file = path.join(folder, 'openapi.json')
        await writeFile(file, JSON.stringify(document))
        // An ES module, which Jest does not load.
        const script = `import { Validator } from '@seriousme/openapi-schema-validator'
          const validator = new Validator()
          const { valid, errors } = await validator.validate(${JSON.stringify(file)})
          console.log(validator.version, valid, JSON.stringify(errors ?? null))`
        const root = path.resolve(__dirname, '../..')
        const node = promisify(execFile)
        const { stdout } = await node(process.execPath, ['--input-type=module', '-e', script], { cwd: root })
        return stdout.trim()
      }
      try {
        expect(await check(specified.document)).toBe('3.1 true null')
        expect(
          await check({ ...specified.document, paths: { '/users': { get: { responses: 1 } } } }),
        ).toMatch(/^3\.1 false /)
      } finally {
        await rm(folder, { recursive: true })
      }
    })

    it('has an example in each content, which matches its schema, and no dangling reference', () => {
      const contents = specified.contents()
      expect(contents.length).toBeGreaterThan(50)
      for (const { pointer, example } of contents)
        expect([pointer, example, specified.errorsOf(pointer, example)]).toEqual([pointer, example, null])
      for (const { operation } of specified.operations) expect(operation.summary).toMatch(/^[A-Z]/)
      const ids = specified.operations.map(({ operation }) => operation.operationId)
      expect(new Set(ids).size).toBe(ids.length)
    })

    it('has every path that the service lists', async () => {
      const contents = (await (await fetch(service.url)).json()) as { calls: Record<string, string> }
      const documented = specified.operations.map(({ name }) => name)
      expect(documented.toSorted()).toEqual(Object.keys(contents.calls).toSorted())
    })

    it('lists exactly the statuses that each operation answers, with their schemas', async () => {
      await fill()
      const provoked = new Map(specified.operations.map(({ name }) => [name, new Set<string>()]))
      /** Sends a request, and checks its response against the document. */
      async function call(
        operation: Operation,
        init: RequestInit = {},
        address = operation.address(),
      ): Promise<void> {
        const seen = await specified.call(operation, address, init)
        provoked.get(operation.name)?.add(String(seen))
      }
      const json = (body: unknown): RequestInit => ({
        headers: { 'Content-Type': 'application/json' },
        body: typeof body === 'string' ? body : JSON.stringify(body),
      })
      /** Responses that depend on existing rows. */
      const special: Record<string, () => Promise<void>> = {
        'POST /users': () => call(users, json({ username: 'ada', email: 'other@example.com' })),
        'PATCH /users/{id}': () => call(patchUser, json({ username: 'grace' })),
        'POST /posts': () => call(posts, json({ title: 'x', content: 'x', author_id: UNKNOWN_ID })),
        'POST /transfer': async () => {
          const ids = specified.ids('/accounts')
          const transfer = { from_account: ids[0], to_account: ids[1], amount: 1 }
          await call(transfers, json(transfer))
          await call(transfers, json({ ...transfer, amount: 100_000 }))
          await call(transfers, json({ ...transfer, from_account: UNKNOWN_ID }))
        },
      }
      const [users, patchUser, posts, transfers] = [
        'POST /users',
        'PATCH /users/{id}',
        'POST /posts',
        'POST /transfer',
      ].map((name) => specified.operation(name)) as [Operation, Operation, Operation, Operation]

      for (const operation of specified.operations) {
        const good = operation.hasBody ? json(specified.bodyFor(operation)) : {}
        const asHtml = new Headers(good.headers)
        asHtml.set('Accept', 'text/html')
        await call(operation, { ...good, headers: asHtml })
        await call(operation, good, `${operation.address()}?unknown=1`)
        await special[operation.name]?.()
        if (operation.hasParameters) await call(operation, good, operation.address(UNKNOWN_ID))
        if (operation.hasParameters || operation.hasBody)
          await call(operation, operation.hasBody ? json('{') : {}, operation.address('%E0%A4%A'))
        if (operation.hasBody) {
          await call(operation, json(JSON.stringify('x'.repeat(110_000))))
          await call(operation, { headers: { 'Content-Type': 'text/csv' }, body: 'a,b' })
        }
        await call(operation, good)
        // By default fetch would add Cache-Control: no-cache, which asks for the full response.
        const unlessChanged = { 'If-None-Match': '*', 'Cache-Control': 'max-age=0' }
        if (operation.method === 'GET') await call(operation, { headers: unlessChanged })
      }

      // Failures of the database are the same for all operations.
      const { main, products } = service
      const broken = async (serving: Serving): Promise<void> => {
        try {
          for (const operation of specified.operations) {
            const good = operation.hasBody ? json(specified.bodyFor(operation)) : {}
            await call(operation, good, `${serving.url}${new URL(operation.address()).pathname}`)
          }
        } finally {
          await serving.close()
        }
      }
      const app = createApp({ main, products, logger: pino({ level: 'silent' }) })
      await broken(await serveQuietly(app, { requestTimeoutMillis: 0.001 }))
      const tables = ['users', 'posts', 'accounts', 'transfers', 'products']
      const onTables = async (...statements: ((table: string) => string)[]): Promise<void> => {
        for (const table of tables)
          for (const statement of statements)
            await (table === 'products' ? products : main).execute(statement(table))
      }
      // A view that cannot be written, nor read, since the number is beyond 64 bits.
      const unreadable = 'WHERE abs(-9223372036854775807 - 1) > 0'
      await onTables(
        (table) => `ALTER TABLE ${table} RENAME TO whole_${table}`,
        (table) => `CREATE VIEW ${table} AS SELECT DISTINCT * FROM whole_${table} ${unreadable}`,
      )
      try {
        await broken(await serveQuietly(app))
      } finally {
        await onTables(
          (table) => `DROP VIEW ${table}`,
          (table) => `ALTER TABLE whole_${table} RENAME TO ${table}`,
        )
      }
      await main.disconnect()
      await products.disconnect()
      await broken(await serveQuietly(app))

      for (const { name, statuses } of specified.operations) {
        const expected = statuses.filter((status) => !ELSEWHERE.includes(status))
        expect([name, [...(provoked.get(name) ?? [])].toSorted()]).toEqual([name, expected])
      }
    })

    it('describes the 405 of every path', async () => {
      for (const address of new Set(specified.operations.map((operation) => operation.address(1)))) {
        const response = await fetch(address, { method: 'PUT' })
        expect([response.status, response.headers.get('allow')]).toEqual([
          405,
          expect.stringContaining('OPTIONS'),
        ])
        const pointer = '/components/responses/MethodNotAllowed/content/application~1problem+json'
        expect(specified.errorsOf(pointer, await response.json())).toBeNull()
      }
    })

    it('is not served, nor is its page, when it is turned off', async () => {
      const { main, products } = service
      const app = createApp({ main, products, logger: pino({ level: 'silent' }), docs: false })
      const serving = await serveQuietly(app)
      try {
        for (const address of ['/docs', '/openapi.json'])
          expect((await fetch(`${serving.url}${address}`)).status).toBe(404)
        expect(await (await fetch(serving.url)).text()).not.toContain('docs')
      } finally {
        await serving.close()
      }
    })
  },
  { rollsBack: false },
)
