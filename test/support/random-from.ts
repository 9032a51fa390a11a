/** A small generator of random numbers with a seed, so that a run can be repeated: https://en.wikipedia.org/wiki/Xorshift */
export function randomFrom(seed: number): (below: number) => number {
  let state = seed || 1
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}
