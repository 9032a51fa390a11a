/** Malformed requests: the service refuses them, shows no internals, and keeps its data. */
import { rounds } from '../support/rounds'
import { randomFrom } from '../support/random-from'
import { report } from '../support/report'
import { waitFor } from '../support/wait-for'
import { bytesOf, draftOf, targetsOf } from './support/draft'
import { faultOf, placesOf } from './support/inside'
import { SpecifiedService } from './support/openapi'
import { eachService } from './support/open-service'
import { exchange } from './support/raw-http'
import { BODY_SPOILERS, one } from './support/spoil-body'
import { HEAD_SPOILERS, SENDING_SPOILERS } from './support/spoil-head'
import { type Contents, contentsOf, idsIn, isAnnounced, changesBetween } from './support/table-contents'

/** MILLPOND_SEED repeats a run. */
const SEED = process.env['MILLPOND_SEED']
/** The number of requests on each database. */
/** Enough that each reason for a refusal occurs. */
const MANY = 1_500
const REQUESTS = rounds(300, MANY)
/** The limit of one request; a longer one is stuck. */
const BOUND_MILLIS = 5_000
const SPOILERS = Object.entries({ ...BODY_SPOILERS, ...HEAD_SPOILERS })
const LAST_SPOILERS = Object.entries(SENDING_SPOILERS)

eachService(
  'the service',
  (service) => {
    it('refuses malformed requests, shows no internals, and keeps its data', async () => {
      const seed = SEED === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(SEED)
      const random = randomFrom(seed)
      const { main, products } = service
      const port = Number(new URL(service.url).port)
      const specified = await SpecifiedService.of(service.url)
      const targets = targetsOf(specified.document)
      const places = [main, products].flatMap(({ url }) => placesOf(url.href))

      async function goodAnswer(): Promise<void> {
        const good = Buffer.from(
          'GET /users?limit=1 HTTP/1.1\r\nHost: millpond.test\r\nConnection: close\r\n\r\n',
        )
        const { answers } = await exchange(port, good, { methods: ['GET'], boundMillis: BOUND_MILLIS })
        expect(answers.map(({ status }) => status)).toEqual([200])
      }

      /** Resolves when the requests before it have been read, have finished, and have been answered, if at all. */
      async function settled(): Promise<void> {
        await goodAnswer()
        await waitFor(() => main.stats().used + products.stats().used === 0)
        await goodAnswer()
      }

      /** Rows for every request to find, however many were deleted. */
      async function refill(contents: Contents): Promise<Contents> {
        const isFull = ['users', 'posts', 'accounts', 'products'].every(
          (table) => idsIn(contents, table).length > 1,
        )
        if (isFull) return contents
        for (let count = 0; count < 4; count += 1) {
          const name = `name${random(2 ** 31)}`
          const { id } = await specified.create('/users', { username: name, email: `${name}@example.org` })
          await specified.create('/posts', { title: name, content: 'Text', author_id: id })
          await specified.create('/accounts', { owner: name, balance: 1_000_000 })
          await specified.create('/products', { name, price: 100 })
        }
        return contentsOf(main, products)
      }

      const statuses: Record<string, number> = {}
      let slowest = 0
      let contents: Contents = new Map()
      for (let count = 0; count < REQUESTS; count += 1) {
        contents = await refill(contents)
        const target = one(targets, random)
        const [from, to] = idsIn(contents, 'accounts')
        const draft = draftOf(
          target,
          one([...idsIn(contents, target.path.split('/')[1] ?? ''), 1_000_000], random),
          {
            username: `ada${count}`,
            email: `ada${count}@example.org`,
            author_id: idsIn(contents, 'users')[0],
            from_account: from,
            to_account: to,
          },
        )
        const spoilers = [one(SPOILERS, random), one([...SPOILERS, ...LAST_SPOILERS], random)]
        if (random(3) > 0) spoilers.shift()
        for (const [, spoil] of spoilers) spoil(draft, random)
        const bytes = bytesOf(draft)
        const { answers, durationMillis } = await exchange(port, bytes, {
          methods: Array.from({ length: draft.times }, () => draft.method),
          boundMillis: BOUND_MILLIS,
          enough: draft.mayStayUnanswered ? settled : undefined,
        })
        if (draft.mayStayUnanswered || count % 50 === 0) await settled()
        // A change by a GET is found at the next request that may change rows.
        const after = target.method === 'GET' ? contents : await contentsOf(main, products)

        const faults = answers.map((answer) => faultOf(answer, places)).filter((fault) => fault !== null)
        if (answers.length === 0 && !draft.mayStayUnanswered) faults.push('it has no answer')
        if (durationMillis >= BOUND_MILLIS) faults.push('it takes too long')
        if (!isAnnounced(contents, after, answers))
          faults.push(`it changes ${changesBetween(contents, after).join(', ')}`)
        if (faults.length > 0) {
          const kinds = spoilers.map(([kind]) => kind).join(', and ')
          const sent = JSON.stringify(bytes.subarray(0, 1_500).toString('latin1'))
          const seen = answers.map(({ status, body }) => `${status} ${body.slice(0, 1_500)}`).join('\n')
          throw new Error(
            `MILLPOND_SEED=${seed}, request ${count}, ${target.name} with ${kinds}: ${faults.join('; ')}\n${sent}\n${seen}`,
          )
        }
        for (const { status } of answers) statuses[status] = (statuses[status] ?? 0) + 1
        if (answers.length === 0) statuses['none'] = (statuses['none'] ?? 0) + 1
        slowest = Math.max(slowest, durationMillis)
        contents = after
      }
      const figures = { seed, requests: REQUESTS, 'slowest, ms': slowest }
      report(`malformed requests on ${service.context.dialect}`, { ...figures, ...statuses })
      // Some were valid, and most were refused, for every reason.
      const rare = ['201', '204', '405', '406', '413', '415', '431']
      for (const status of ['200', '400', '404', '422', ...(REQUESTS < MANY ? [] : rare)])
        expect(statuses).toHaveProperty(status)
    }, 180_000)
  },
  { rollsBack: false },
)
