/** The mutex: one holder at a time, in the order of the calls. */
import { QueryCanceledError, QueryTimeoutError } from '../../../src/database'
import { Limits } from '../../../src/database/context/limits'
import { Mutex } from '../../../src/database/context/mutex'
import { failure } from '../support'

describe('a mutex', () => {
  it('is locked in the order of the calls', async () => {
    const mutex = new Mutex()
    const order: number[] = []
    await Promise.all(
      [1, 2, 3, 4, 5].map(async (n) => {
        const unlock = await mutex.lock(Limits.none)
        order.push(n)
        await Promise.resolve()
        order.push(n)
        unlock()
      }),
    )
    expect(order).toEqual([1, 1, 2, 2, 3, 3, 4, 4, 5, 5])
    await expect(mutex.lock(Limits.until(AbortSignal.timeout(1000)))).resolves.toEqual(expect.any(Function))
  })

  it('ignores a second unlock by the same holder', async () => {
    const mutex = new Mutex()
    const first = await mutex.lock(Limits.none)
    const second = mutex.lock(Limits.none)
    const third = mutex.lock(Limits.none)
    first()
    first()
    const unlockSecond = await second
    unlockSecond()
    ;(await third)()
    await expect(mutex.lock(Limits.until(AbortSignal.timeout(1000)))).resolves.toEqual(expect.any(Function))
  })

  it('lets an aborted waiter leave the queue, and the others keep their places', async () => {
    const mutex = new Mutex()
    const unlock = await mutex.lock(Limits.none)
    const controller = new AbortController()
    const order: string[] = []
    const wait = async (name: string, limits: Limits): Promise<void> => {
      const done = await mutex.lock(limits)
      order.push(name)
      done()
    }
    const before = wait('before', Limits.none)
    const leaving = failure(wait('leaving', Limits.of({ signal: controller.signal }, 'select 1')))
    const after = wait('after', Limits.none)
    controller.abort()
    expect(await leaving).toBeInstanceOf(QueryCanceledError)
    unlock()
    await Promise.all([before, after])
    expect(order).toEqual(['before', 'after'])
  })

  it('rejects a waiter whose time limit is over', async () => {
    const mutex = new Mutex()
    const unlock = await mutex.lock(Limits.none)
    const error = await failure(mutex.lock(Limits.of({ timeoutMillis: 10 }, 'select 1')))
    expect(error).toBeInstanceOf(QueryTimeoutError)
    expect(error.message).toContain('10 ms')
    unlock()
    await expect(mutex.lock(Limits.until(AbortSignal.timeout(1000)))).resolves.toEqual(expect.any(Function))
  })

  it('passes to the next waiter when the first is aborted at the moment of the unlock', async () => {
    const mutex = new Mutex()
    const unlock = await mutex.lock(Limits.none)
    const controller = new AbortController()
    const leaving = failure(mutex.lock(Limits.of({ signal: controller.signal }, '')))
    const next = mutex.lock(Limits.none)
    controller.abort()
    unlock()
    await leaving
    ;(await next)()
    await expect(mutex.lock(Limits.until(AbortSignal.timeout(1000)))).resolves.toEqual(expect.any(Function))
  })
})
