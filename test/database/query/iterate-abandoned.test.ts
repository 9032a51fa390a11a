/** A loop over a stream that is called off while its body waits for something that never comes. */
import { eachDatabase } from '../../support/each-database'
import { waitFor } from '../../support/wait-for'

eachDatabase('a stream whose reader never comes back', (context) => {
  const endless =
    context.dialect === 'sqlite'
      ? 'with recursive c (n) as (select 1 union all select n + 1 from c) select n from c'
      : 'select generate_series(1, 100000000) as n'
  const never = new Promise<void>(() => {})

  it.each([
    ['its signal is aborted', (signal: AbortSignal) => ({ signal }), true],
    ['its time is up', () => ({ timeoutMillis: 300 }), false],
  ])('gives its connection back when %s', async (_name, optionsWith, aborts) => {
    const database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    const controller = new AbortController()
    let rows = 0
    void (async () => {
      for await (const _ of database.iterate(endless, {}, optionsWith(controller.signal))) {
        rows += 1
        await never
      }
    })()
    await waitFor(() => rows === 1)
    expect(database.stats().used).toBe(1)
    if (aborts) controller.abort()
    await waitFor(() => database.stats().used === 0)
    expect(await database.fetchVal('select 1')).toBe(1)
  })

  it('tells a reader that comes back later', async () => {
    const database = await context.open({ pool: { size: 1, maxOverflow: 0 } })
    const controller = new AbortController()
    let comeBack = (): void => {}
    const away = new Promise<void>((resolve) => (comeBack = resolve))
    let rows = 0
    const loop = (async () => {
      for await (const _ of database.iterate(endless, {}, { signal: controller.signal })) {
        rows += 1
        await away
      }
    })()
    await waitFor(() => rows === 1)
    controller.abort()
    await waitFor(() => database.stats().used === 0)
    comeBack()
    await expect(loop).rejects.toMatchObject({ code: 'QUERY_CANCELED' })
    expect(rows).toBe(1)
  })
})
