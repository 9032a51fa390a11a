/** Request bodies where none is expected, complete and cut off. */
import { eachService } from './support/open-service'
import { exchange } from './support/raw-http'

eachService(
  'the service',
  (service) => {
    it.each([
      ['breaks off', 'not a size\r\n', 400],
      ['ends as it should', '2\r\n{}\r\n0\r\n\r\n', 204],
      ['is empty', '0\r\n\r\n', 204],
    ])('deletes a user only when the request body is complete: one that %s', async (_what, body, status) => {
      const id = await service.main.fetchVal<number>(
        `INSERT INTO users (username, email) VALUES ('ada', 'ada@example.com') RETURNING id`,
      )
      const head = `DELETE /users/${id} HTTP/1.1\r\nHost: millpond.test\r\nTransfer-Encoding: chunked\r\n\r\n`
      const { answers } = await exchange(Number(new URL(service.url).port), Buffer.from(head + body), {
        methods: ['DELETE'],
        boundMillis: 5_000,
      })
      expect(answers.map((answer) => answer.status)).toEqual([status])
      const left = await service.main.fetchVal('SELECT count(*) FROM users')
      expect(Number(left)).toBe(status === 204 ? 0 : 1)
    })
  },
  { rollsBack: false },
)
