/** The canceller, a light AbortSignal: it calls each listener once, and none that was removed. */
import { Canceller, addAbortListener } from '../../../src/database/context/canceller'

const gone = new Error('gone')

test('a canceller calls each listener once, with one reason', () => {
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

test('a canceller does not call a listener that was removed, even by another listener', () => {
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

test('addAbortListener adds and removes listeners of an AbortSignal in the same way', () => {
  const { signal } = new AbortController()
  const controller = new AbortController()
  let told = 0
  const leave = addAbortListener(signal, () => (told += 1))
  addAbortListener(controller.signal, () => (told += 10))
  leave()
  controller.abort()
  expect(told).toBe(10)
})
