/** Prints a figure that a test has measured, and never fails. */
export function report(what: string, figures: Readonly<Record<string, number | string>>): void {
  const list = Object.entries(figures).map(([name, value]) => {
    return `${name} ${typeof value === 'number' ? Number(value.toFixed(1)) : value}`
  })
  process.stdout.write(`  figures: ${what}: ${list.join(', ')}\n`)
}
