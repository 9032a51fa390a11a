/** SQL injection: SQL in any parameter is data or is refused, and never becomes part of a statement. */
import type { QueryEvent } from '../../src/database'
import { report } from '../support/report'
import { rounds } from '../support/rounds'
import { type Target, targetsOf } from './support/draft'
import { faultOf, placesOf } from './support/inside'
import { INJECTIONS } from './support/injections'
import { KNOWN_STATEMENTS } from './support/known-statements'
import { SpecifiedService } from './support/openapi'
import { eachService } from './support/open-service'
import { exchange, type RawAnswer } from './support/raw-http'
import { requestWith, type Slot, slotsOf, type Surroundings } from './support/slots'
import { contentsOf } from './support/table-contents'

/** All injections, or some of each kind. */
const TEXTS = INJECTIONS.filter((_, index) => index % rounds(8, 1) === 0)
/** How many requests are sent at once on one connection. */
const BATCH = 33
/** Shorter than any delay in the injections. */
const BOUND_MILLIS = 8_000
const UNKNOWN_ID = 1_000_000

eachService(
  'the service',
  (service) => {
    it('treats SQL in any parameter of any operation as data, and runs only known statements', async () => {
      expect(INJECTIONS.length).toBeGreaterThanOrEqual(500)
      const { main, products } = service
      const port = Number(new URL(service.url).port)
      const specified = await SpecifiedService.of(service.url)
      const targets = targetsOf(specified.document)
      const places = [main, products].flatMap(({ url }) => placesOf(url.href))
      await fill(specified, 'kept')
      const kept = await contentsOf(main, products)
      await fill(specified, 'changed')
      const seen = new Map<string, Set<string>>()
      const failed: string[] = []
      const onQuery = ({ sql, label, error }: QueryEvent): void => {
        if (label === null) return
        seen.set(label, (seen.get(label) ?? new Set()).add(withoutDialect(sql)))
        if (error?.code === 'QUERY_FAILED' || error?.code === 'UNDEFINED_NAME') failed.push(sql)
      }
      for (const database of [main, products]) database.on('query', onQuery)

      let made = 0
      /** The parts of a valid request. It deletes a row that does not exist, so that other requests find theirs. */
      function around({ method, path }: Target): Surroundings {
        const [from, to] = specified.ids('/accounts').slice(-2)
        const name = `name${(made += 1)}`
        const id = specified.ids(`/${path.split('/')[1]}`).at(-1) ?? 1
        return {
          id: method === 'DELETE' ? UNKNOWN_ID : id,
          values: {
            username: name,
            email: `${name}@example.org`,
            author_id: specified.ids('/users').at(-1),
            from_account: from,
            to_account: to,
          },
        }
      }

      await askEverything(specified, targets)
      // Parameters that are not texts refuse them before any query, so that each database tests one half.
      const parity = service.context.dialect === 'sqlite' ? 0 : 1
      const half = TEXTS.filter((_, index) => index % 2 === parity)
      let requests = 0
      for (const slot of targets.flatMap(slotsOf)) {
        const corpus = slot.takesText ? TEXTS : half
        for (let start = 0; start < corpus.length; start += BATCH * slot.width) {
          const texts = inGroups(corpus.slice(start, start + BATCH * slot.width), slot.width)
          const bytes = texts.map((group) => requestWith(group, slot, around(slot.target)))
          const { answers } = await exchange(port, Buffer.concat(bytes), {
            methods: texts.map(() => slot.target.method),
            boundMillis: BOUND_MILLIS,
          })
          for (const [index, [text = '']] of texts.entries()) {
            const answer = answers[index]
            const fault =
              answer === undefined
                ? 'no answer'
                : (faultOf(answer, places) ?? faultOfData(answer, slot, text))
            if (fault !== null) {
              throw new Error(`${slot.name}: ${text}: ${fault}\n${answer?.status} ${answer?.body}`)
            }
          }
          requests += texts.length
        }
      }

      const statements = [...seen].toSorted(([a], [b]) => (a < b ? -1 : 1))
      expect(failed).toEqual([])
      expect(Object.fromEntries(statements.map(([label, sqls]) => [label, [...sqls].toSorted()]))).toEqual(
        KNOWN_STATEMENTS,
      )
      const after = await contentsOf(main, products)
      expect([...kept.keys()].map((name) => [name, after.get(name)])).toEqual([...kept])
      report(`SQL where it does not belong, on ${service.context.dialect}`, {
        texts: TEXTS.length,
        requests,
      })
    }, 300_000)
  },
  { rollsBack: false },
)

function inGroups<T>(all: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, index) =>
    all.slice(index * size, (index + 1) * size),
  )
}

/** Two rows of each kind. */
async function fill(specified: SpecifiedService, prefix: string): Promise<void> {
  for (const name of [`${prefix}1`, `${prefix}2`]) {
    const { id } = await specified.create('/users', { username: name, email: `${name}@example.org` })
    await specified.create('/posts', { title: name, content: 'Text', author_id: id })
    await specified.create('/accounts', { owner: name, balance: 1_000_000_000 })
    await specified.create('/products', { name, price: 100 })
  }
}

/** Requests each list in every order, with its second page, and with every filter of the OpenAPI document. */
async function askEverything(specified: SpecifiedService, targets: readonly Target[]): Promise<void> {
  for (const { name, parameters } of targets) {
    const asked = parameters.filter((parameter) => parameter.in === 'query')
    const address = specified.operation(name).address()
    for (const { name: parameter, schema } of asked) {
      if (parameter === 'after') continue
      for (const value of schema.enum ?? [schema.type === 'string' ? 'ada' : '1']) {
        const response = await fetch(
          `${address}?${parameter}=${value}${parameter === 'limit' ? '' : '&limit=1'}`,
        )
        expect([name, parameter, value, response.status]).toEqual([name, parameter, value, 200])
        await response.arrayBuffer()
        const [, next] = /^<(.*)>/.exec(response.headers.get('link') ?? '') ?? []
        if (next !== undefined) await (await fetch(new URL(next, address))).arrayBuffer()
      }
    }
  }
}

/** Checks that the stored or filtered text is unchanged, and that a refusal does not repeat it. */
function faultOfData(
  { status, body }: RawAnswer,
  { place, field, target }: Slot,
  text: string,
): string | null {
  if (status >= 400) {
    const repeats = text.length >= 8 && body.includes(JSON.stringify(text).slice(1, -1))
    return repeats ? 'it repeats the text' : null
  }
  if (body === '' || (place !== 'body' && place !== 'query')) return null
  const answer = JSON.parse(body) as Record<string, unknown> | Record<string, unknown>[]
  for (const row of Array.isArray(answer) ? answer : [answer]) {
    if (field in row && row[field] !== text && row[field] !== text.trim())
      return `${target.name} made ${String(row[field])} of it`
  }
  return null
}

/** Normalizes a statement to the form of KNOWN_STATEMENTS. */
function withoutDialect(sql: string): string {
  return sql
    .replace(/\$\d+|\?\d+/g, '?')
    .replaceAll('`', '"')
    .replace(/\s+/g, ' ')
    .replace(/(?:CAST\(json_build_array|json_array)\(.* as "keysetkey"/, 'the key of keyset()')
    .replace(/^BEGIN .*/i, 'BEGIN')
    .trim()
}
