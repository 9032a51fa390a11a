/** ping(): a question to the server that takes no connection of the pool. */
import { eachDatabase } from '../support/each-database'

eachDatabase('ping()', (context) => {
  it('pings past a full pool', async () => {
    const database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    await using _connection = await database.acquire()
    await Promise.all([database.ping(), database.ping()])
    await database.ping({ timeoutMillis: 5000 })
    expect(database.stats()).toMatchObject({ used: 1, waiting: 0 })
  })

  if (context.dialect === 'postgresql') {
    it('of one ping spoil no other', async () => {
      const database = await context.open({ pool: { acquireTimeoutMillis: 500 } })
      for (let round = 0; round < 3; round += 1) {
        const [patient, impatient] = await Promise.allSettled([
          database.ping(),
          database.ping({ timeoutMillis: 0 }),
        ])
        expect(patient.status).toBe('fulfilled')
        expect(impatient.status).toBe('rejected')
      }
      await expect(database.ping({ timeout: 5 } as never)).rejects.toThrow(/no option 'timeout'|timeout/)
    })
  }
})
