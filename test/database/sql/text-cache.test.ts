/** The cache of parsed texts: bounded in entries and in the length of a text. */
import { TextCache } from '../../../src/database/sql/text-cache'

describe('the text cache', () => {
  it('drops the oldest entry when it is full', () => {
    const cache = new TextCache<number>(2)
    for (const [value, text] of ['a', 'b', 'c'].entries()) cache.set(text, value)
    expect(['a', 'b', 'c'].map((text) => cache.get(text))).toEqual([undefined, 1, 2])
  })

  it('does not keep very long texts', () => {
    const cache = new TextCache<number>(2)
    cache.set('x'.repeat(200_000), 1)
    cache.set('select 1', 2)
    expect(cache.get('x'.repeat(200_000))).toBeUndefined()
    expect(cache.get('select 1')).toBe(2)
  })
})
