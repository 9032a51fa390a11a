/** The linked list behind the queues: entries stay in order, and any of them can be removed. */
import { type Entry, LinkedList } from '../../../src/database/context/linked-list'

type Three = [Entry<string>, Entry<string>, Entry<string>]

function three(): [LinkedList<string>, Three] {
  const queue = new LinkedList<string>()
  return [queue, [queue.add('a'), queue.add('b'), queue.add('c')]]
}

const namesIn = (queue: LinkedList<string>): string[] => queue.all().map(({ value }) => value)

test('a linked list keeps its order when any entry is removed', () => {
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

test('an entry of a linked list is removed once, also when others were added since', () => {
  const queue = new LinkedList<string>()
  const only = queue.add('a')
  expect(queue.remove(only)).toBe(true)
  expect(queue.remove(only)).toBe(false)
  expect([queue.size, queue.first]).toEqual([0, undefined])
  queue.add('b')
  expect(queue.remove(only)).toBe(false)
  expect(namesIn(queue)).toEqual(['b'])
})

test('all() gives the entries at the time of the call, though entries are removed meanwhile', () => {
  const [queue] = three()
  const seen: string[] = []
  for (const entry of queue.all()) {
    seen.push(entry.value)
    for (const each of queue.all()) queue.remove(each)
  }
  expect(seen).toEqual(['a', 'b', 'c'])
})

test('a removed entry points to no other, so that it keeps none of them in memory', () => {
  const [queue, [first, second]] = three()
  queue.remove(first)
  expect([first.before, first.after, second.before]).toEqual([null, null, null])
})
