/** ping(): asks the server over a connection outside of the pool. */
import { eachDatabase } from '../support/each-database'

eachDatabase('ping()', (context) => {
  it('resolves while all connections of the pool are in use', async () => {
    const database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    await using _connection = await database.acquire()
    await Promise.all([database.ping(), database.ping()])
    await database.ping({ timeoutMillis: 5000 })
    expect(database.stats()).toMatchObject({ used: 1, waiting: 0 })
  })

  if (context.dialect === 'postgresql') {
    it('that times out does not fail a ping at the same time', async () => {
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
