/** What calls things off: every listener once, and none that has left. */
import { Canceller, whenAborted } from '../../src/database/context/canceller'

const gone = new Error('gone')

test('tells everybody who listens, once, with one reason', () => {
  const canceller = new Canceller(() => gone)
  const told: string[] = []
  const twice = (): void => void told.push('a')
  canceller.addEventListener('abort', twice)
  canceller.addEventListener('abort', twice)
  whenAborted(canceller, () => told.push('b'))
  expect(canceller).toMatchObject({ aborted: false, reason: undefined })
  canceller.abort()
  canceller.abort()
  expect(told).toEqual(['a', 'b'])
  expect(canceller).toMatchObject({ aborted: true, reason: gone })
})

test('tells nobody who has left, be it because of what another one was told', () => {
  const canceller = new Canceller(() => gone)
  const told: string[] = []
  const early = (): void => void told.push('early')
  canceller.addEventListener('abort', early)
  canceller.removeEventListener('abort', early)
  canceller.removeEventListener('abort', early)
  whenAborted(canceller, () => {
    told.push('first')
    leave()
  })
  const leave = whenAborted(canceller, () => told.push('second'))
  whenAborted(canceller, () => told.push('third'))
  canceller.abort()
  expect(told).toEqual(['first', 'third'])
})

test('an AbortSignal is listened to and left in the same way', () => {
  const { signal } = new AbortController()
  const controller = new AbortController()
  let told = 0
  const leave = whenAborted(signal, () => (told += 1))
  whenAborted(controller.signal, () => (told += 10))
  leave()
  controller.abort()
  expect(told).toBe(10)
})
