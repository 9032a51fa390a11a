/** The queue of whoever comes and goes: its order, and leaving from anywhere. */
import { type Entry, LinkedList } from '../../../src/database/context/linked-list'

type Three = [Entry<string>, Entry<string>, Entry<string>]

function three(): [LinkedList<string>, Three] {
  const queue = new LinkedList<string>()
  return [queue, [queue.add('a'), queue.add('b'), queue.add('c')]]
}

const namesIn = (queue: LinkedList<string>): string[] => queue.all().map(({ value }) => value)

test('keeps the order in which they came, whoever leaves', () => {
  const leaving: [0 | 1 | 2, string, string][] = [
    [0, 'b c', 'b'],
    [1, 'a c', 'a'],
    [2, 'a b', 'a'],
  ]
  for (const [at, left, first] of leaving) {
    const [queue, entries] = three()
    expect(queue.remove(entries[at])).toBe(true)
    expect(namesIn(queue).join(' ')).toBe(left)
    expect(queue.first).toBe(first)
    expect(queue.size).toBe(2)
    queue.add('d')
    expect(namesIn(queue).join(' ')).toBe(`${left} d`)
  }
})

test('nobody leaves twice, not even when others have come meanwhile', () => {
  const queue = new LinkedList<string>()
  const only = queue.add('a')
  expect(queue.remove(only)).toBe(true)
  expect(queue.remove(only)).toBe(false)
  expect([queue.size, queue.first]).toEqual([0, undefined])
  queue.add('b')
  expect(queue.remove(only)).toBe(false)
  expect(namesIn(queue)).toEqual(['b'])
})

test('is looked at as it was when that began', () => {
  const [queue] = three()
  const seen: string[] = []
  for (const entry of queue.all()) {
    seen.push(entry.value)
    for (const each of queue.all()) queue.remove(each)
  }
  expect(seen).toEqual(['a', 'b', 'c'])
})

test('who has left points to nobody, so that a chain of them cannot keep what came later', () => {
  const [queue, [first, second]] = three()
  queue.remove(first)
  expect([first.before, first.after, second.before]).toEqual([null, null, null])
})
