/** What calls things off: every listener once, and none that has left. */
import { Canceller, addAbortListener } from '../../../src/database/context/canceller'

const gone = new Error('gone')

test('tells everybody who listens, once, with one reason', () => {
  const canceller = new Canceller(() => gone)
  const told: string[] = []
  const twice = (): void => void told.push('a')
  canceller.addEventListener('abort', twice)
  canceller.addEventListener('abort', twice)
  addAbortListener(canceller, () => told.push('b'))
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
  addAbortListener(canceller, () => {
    told.push('first')
    leave()
  })
  const leave = addAbortListener(canceller, () => told.push('second'))
  addAbortListener(canceller, () => told.push('third'))
  canceller.abort()
  expect(told).toEqual(['first', 'third'])
})

test('an AbortSignal is listened to and left in the same way', () => {
  const { signal } = new AbortController()
  const controller = new AbortController()
  let told = 0
  const leave = addAbortListener(signal, () => (told += 1))
  addAbortListener(controller.signal, () => (told += 10))
  leave()
  controller.abort()
  expect(told).toBe(10)
})
