/** The calls in docs/service.http: all operations, and each answered as noted. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { pino } from 'pino'
import { createApp } from '../../src/service/app'
import { migrate } from '../../src/service/migrations'
import { serveQuietly } from '../express/support'
import { eachDatabase } from '../support/each-database'
import { SpecifiedService } from './support/openapi'

interface Call {
  readonly title: string
  readonly status: number
  readonly method: string
  readonly target: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | undefined
}

/** Parses the format of REST clients: `###` between requests, an empty line between head and body. */
function callsOf(text: string): Call[] {
  const [, ...parts] = text.split(/^### /m)
  return parts.map((part) => {
    const [head = '', ...body] = part.trim().split('\n\n')
    const [title = '', note = '', line = '', ...fields] = head.split('\n')
    const [, method = '', target = ''] = /^([A-Z]+) \{\{host\}\}(\/\S*)$/.exec(line) ?? []
    const headers = Object.fromEntries(
      fields.map((field) => /^([\w-]+): (.+)$/.exec(field)?.slice(1) as [string, string]),
    )
    const status = Number(/^# → (\d{3})$/.exec(note)?.[1])
    return { title, status, method, target, headers, body: body.length === 0 ? undefined : body.join('\n\n') }
  })
}

const calls = callsOf(readFileSync(path.resolve(__dirname, '../../docs/service.http'), 'utf8'))

eachDatabase('docs/service.http', (context) => {
  it('has every operation of the OpenAPI document, and each of its calls is answered as noted', async () => {
    const main = await context.open()
    const products = await context.open({}, await context.createDatabase())
    await migrate(main, 'main', { seed: true })
    await migrate(products, 'products', { seed: true })
    const serving = await serveQuietly(createApp({ main, products, logger: pino({ level: 'silent' }) }))
    try {
      const answers: string[] = []
      for (const { title, method, target, headers, body } of calls) {
        const init = { method, headers, ...(body !== undefined && { body }) }
        const { status } = await fetch(serving.url + target, init)
        answers.push(`${title} → ${status}`)
      }
      expect(answers).toEqual(calls.map(({ title, status }) => `${title} → ${status}`))

      const { operations } = await SpecifiedService.of(serving.url)
      const missing = operations.filter(({ method, path: address }) => {
        const pattern = new RegExp(`^${address.replace('{id}', '\\d+')}(\\?.*)?$`)
        // Only a call that succeeds shows how an operation is used.
        return !calls.some((call) => call.method === method && pattern.test(call.target) && call.status < 300)
      })
      expect(missing.map(({ name }) => name)).toEqual([])
    } finally {
      await serving.close()
    }
  })
})
