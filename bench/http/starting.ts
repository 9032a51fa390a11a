/** How long a stack takes from its start to the first answer out of the database, and what it weighs then. */
import { median } from '../spread'
import { table } from '../table'
import type { Place } from './prepare'
import { residentMegabytes } from './process-usage'
import { startServer } from './server-process'
import type { Stack } from './stacks'

export async function reportStarts(
  stacks: readonly Stack[],
  rounds: number,
  { environmentOf }: Place,
): Promise<string> {
  const millis = new Map(stacks.map((stack) => [stack, [] as number[]]))
  const megabytes = new Map<Stack, number>()
  for (let round = 0; round < rounds; round += 1) {
    for (const stack of round % 2 === 0 ? stacks : stacks.toReversed()) {
      const server = await startServer(stack, environmentOf(stack))
      millis.get(stack)?.push(server.startMillis)
      megabytes.set(stack, residentMegabytes(server.pid))
      await server.stop()
    }
  }
  const base = stacks.find(({ id }) => id === 'N1')
  const least = (stack: Stack): number => Math.min(...(millis.get(stack) ?? []))
  const rows = stacks.map((stack) => [
    stack.id,
    least(stack).toFixed(0),
    median(millis.get(stack) ?? []).toFixed(0),
    base === undefined ? '–' : (least(stack) / least(base)).toFixed(2),
    (megabytes.get(stack) ?? NaN).toFixed(0),
  ])
  const head = ['stack', 'ms, least', 'ms, median', 'least / N1', 'MB after it']
  return `## Start to first answer\n\n${table(head, rows)}`
}
