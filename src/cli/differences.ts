/** Shows how one written interface differs from another. */

/** Returns the lines that are only in one of the texts, under the table in which they stand. */
export function differences(before: string, after: string): string {
  const [old, present] = [linesOf(before), linesOf(after)]
  const changes = [
    ...[...old].filter(([key]) => !present.has(key)).map(([, line]) => ({ ...line, sign: '-' })),
    ...[...present].filter(([key]) => !old.has(key)).map(([, line]) => ({ ...line, sign: '+' })),
  ]
  const tables = [...new Set(changes.map(({ table }) => table))].toSorted()
  return tables
    .map((table) => {
      const lines = changes
        .filter((change) => change.table === table)
        .map(({ sign, text }) => `${sign} ${text}\n`)
      // A column is there twice: as it is read, and as it is inserted.
      return `  ${table}\n${[...new Set(lines)].join('')}`
    })
    .join('')
}

interface Line {
  readonly table: string
  readonly text: string
}

/** Returns the lines, by what sets those apart that look alike: their table, and their place in it. */
function linesOf(text: string): Map<string, Line> {
  const lines = new Map<string, Line>()
  let table = ''
  let part = 0
  for (const line of text.split('\n')) {
    if (/^ {2}\S.*<$/.test(line)) table = line.replace(/: [^:]*<$/, '').trim()
    if (/^ {0,2}\S/.test(line)) part = 0
    if (/^ {4}\S/.test(line)) part += 1
    if (line.trim() !== '') lines.set(JSON.stringify([table, part, line]), { table, text: line.trim() })
    if (line === '  >') table = ''
  }
  return lines
}
