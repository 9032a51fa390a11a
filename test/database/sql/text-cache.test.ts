/** What is remembered about texts, and what is not. */
import { TextCache } from '../../../src/database/sql/text-cache'

describe('a cache of texts', () => {
  it('forgets the oldest when it is full', () => {
    const cache = new TextCache<number>(2)
    for (const [value, text] of ['a', 'b', 'c'].entries()) cache.set(text, value)
    expect(['a', 'b', 'c'].map((text) => cache.get(text))).toEqual([undefined, 1, 2])
  })

  it('does not keep a text that a program has made long', () => {
    const cache = new TextCache<number>(2)
    cache.set('x'.repeat(200_000), 1)
    cache.set('select 1', 2)
    expect(cache.get('x'.repeat(200_000))).toBeUndefined()
    expect(cache.get('select 1')).toBe(2)
  })
})
