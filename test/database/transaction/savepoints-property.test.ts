/**
 * Random trees of nested transactions store exactly the rows that a reference model says, and no statement runs in
 * another branch.
 *
 * MILLPOND_TREES=n sets how many trees there are per database; MILLPOND_SEED=n runs those of a seed that failed.
 */
import fc from 'fast-check'
import { rounds } from '../../support/rounds'
import { type Database, QueryCanceledError, runInScope } from '../../../src/database'
import { type DatabaseContext, eachDatabase } from '../../support/each-database'
import { Reference } from '../../support/model/reference'
import type { Sent } from '../../support/model/inserts'
import { Runner } from '../../support/model/runner'
import { type Step, tree } from '../../support/model/tree'

const TREES = rounds(200, 1000, 'MILLPOND_TREES')
const SEED = process.env['MILLPOND_SEED']
/** How many trees run at the same time, on fewer connections than they ask for. */
const AT_ONCE = 8
const POOL = { size: AT_ONCE + 2, maxOverflow: 0 }
const LONGEST_MILLIS = 60_000 + TREES * 100

interface Row {
  readonly tag: string
  readonly pid?: number
  readonly txid?: string
  readonly xmin?: string
}

eachDatabase('a random tree of nested transactions', (context) => {
  const isPostgres = context.dialect === 'postgresql'
  let database: Database
  let batches = 0

  const open = async (): Promise<Database> => (database = await context.open({ pool: POOL }))
  beforeEach(async () => {
    await open()
    const ids = isPostgres ? ', pid integer default pg_backend_pid(), txid bigint default txid_current()' : ''
    await database.execute(`create table log (tag text primary key${ids})`)
    await database.execute("insert into log (tag) values ('taken')")
    await database.execute('create table numbers (n integer, tag text)')
    await database.execute("insert into numbers values (0, 'a'), (1, 'b'), (2, 'c')")
  })
  afterEach(async () => {
    await context.admin('drop table log')
    await context.admin('drop table numbers')
  })

  /** The rows that a batch has stored. */
  const rowsOf = (batch: string): Promise<Row[]> => {
    const columns = isPostgres ? 'tag, pid, txid, xmin::text' : 'tag'
    const query = `select ${columns} from log where tag >= :from and tag < :to`
    return database.fetchAll<Row>(query, { from: `${batch}:`, to: `${batch};` })
  }

  /** Runs trees at the same time, and throws the problems of any of them. */
  const run = async (trees: readonly (readonly Step[])[], isForced = false): Promise<void> => {
    const batch = `b${(batches += 1)}`
    const runners = await Promise.all(
      trees.map(async (steps, index) => {
        const runner = new Runner(database, `${batch}:${index}`, isForced)
        await runner.run(steps)
        return runner
      }),
    )
    const rows = await rowsOf(batch)
    const problems = trees.flatMap((steps, index) => {
      const name = `${batch}:${index}`
      const own = rows.filter(({ tag }) => tag.startsWith(`${name}.`))
      return problemsOf(context, steps, name, runners[index], own)
    })
    // In a forced rollback there is one transaction for all.
    const sent = isForced ? [] : runners.flatMap((runner) => runner.inserts.sent)
    problems.push(...strangersIn(sent, rows))
    const { used, waiting } = database.stats()
    if (used - Number(isForced) + waiting > 0)
      problems.push(`${used} connections are out, and ${waiting} wait`)
    if (problems.length > 0) throw new Error(problems.join('\n'))
  }

  /** Reconnects, so that a failed run does not fail the next one. */
  const afresh = async (): Promise<void> => {
    await database.disconnect({ graceMillis: 0 })
    await open()
  }

  const holdsFor = async (runs: number, property: typeof run): Promise<void> => {
    const checked = fc.asyncProperty(fc.array(tree(), { minLength: AT_ONCE, maxLength: AT_ONCE }), (trees) =>
      property(trees).catch(async (error: unknown) => {
        await afresh()
        throw error
      }),
    )
    await fc.assert(checked, {
      numRuns: runs,
      timeout: 10_000,
      interruptAfterTimeLimit: LONGEST_MILLIS - 5000,
      markInterruptAsFailure: true,
      ...(SEED === undefined ? {} : { seed: Number(SEED) }),
    })
  }

  it(
    'stores the rows of committed branches, and runs no statement in another branch',
    async () => {
      await holdsFor(Math.ceil(TREES / AT_ONCE), run)
      expect(database.stats().used).toBe(0)
    },
    LONGEST_MILLIS,
  )

  it('runs a builder that its work returns without awaiting it', async () => {
    const insert = (tag: string): ReturnType<typeof database.table> => database.table('log').insert({ tag })
    await database.transaction(() => insert('forced'), { forceRollback: true })
    await database.transaction((tx) => tx.transaction(() => insert('inner'), { forceRollback: true }))
    await database.transactional(() => insert('transactional'), { forceRollback: true })()
    await database.forceRollback(() => insert('undone'))
    const aborted = { signal: AbortSignal.abort() }
    await expect(runInScope(aborted, async () => insert('aborted'))).rejects.toThrow(QueryCanceledError)
    await expect(Promise.resolve(runInScope(aborted, () => insert('aborted')))).rejects.toThrow(
      QueryCanceledError,
    )
    let detached: Promise<unknown> | undefined
    const undone = database.transaction(async () => {
      detached = Promise.resolve(database.detached(() => insert('detached')))
      throw new Error('undone')
    })
    await expect(undone).rejects.toThrow('undone')
    await detached
    await database.connection(() => insert('connection'))
    const rows = await database.fetchAll('select tag from log order by tag')
    expect(rows).toEqual([{ tag: 'connection' }, { tag: 'detached' }, { tag: 'taken' }])
  })

  it(
    'stores the same rows inside a forced rollback, and none after it',
    async () => {
      await holdsFor(Math.ceil(TREES / AT_ONCE / 5), (trees) =>
        database.forceRollback(() => run(trees, true)),
      )
      expect(await database.fetchAll('select tag from log')).toEqual([{ tag: 'taken' }])
    },
    LONGEST_MILLIS,
  )
})

/** Compares the rows and the outcomes of one tree with those of the reference model. */
function problemsOf(
  { dialect }: DatabaseContext,
  steps: readonly Step[],
  name: string,
  runner: Runner | undefined,
  rows: readonly Row[],
): string[] {
  const expected = new Reference(dialect).of(steps)
  const problems = (runner?.problems ?? []).map((problem) => `${name}: ${problem}`)
  const there = new Set(rows.map(({ tag }) => tag.slice(name.length)))
  for (const tag of expected.rows) if (!there.has(tag)) problems.push(`${name}: row ${tag} is missing`)
  for (const tag of there) {
    if (!expected.rows.has(tag) && !expected.open.has(tag))
      problems.push(`${name}: row ${tag} should not be there`)
  }
  for (const [path, outcome] of expected.outcomes) {
    const actual = runner?.outcomes.get(path)
    if (actual !== outcome) problems.push(`${name}: ${path} ${actual ?? 'did not run'}, expected: ${outcome}`)
  }
  for (const { tag, owner, outcome } of runner?.inserts.sent ?? []) {
    const isThere = there.has(tag.slice(name.length))
    if (isThere && outcome !== 'resolved') problems.push(`${name}: row ${tag} is there, but was ${outcome}`)
    if (!isThere && outcome === 'resolved' && owner === tag) problems.push(`${name}: row ${tag} was lost`)
  }
  if (problems.length > 0) problems.push(JSON.stringify(steps))
  return problems
}

/** Finds statements that ran in a transaction or savepoint of another branch, or on another connection. */
function strangersIn(sent: readonly Sent[], rows: readonly Row[]): string[] {
  const problems: string[] = []
  const onePartner = (what: string): ((a: string, b: string) => void) => {
    const partners = new Map<string, string>()
    return (a, b) => {
      const known = partners.get(a)
      if (known !== undefined && known !== b) problems.push(`${what} ${a} has ${known} and ${b}`)
      partners.set(a, b)
    }
  }
  const ofTransaction = onePartner('transaction')
  const ofId = onePartner('transaction id')
  const ofSavepoint = onePartner('savepoint')
  const ofRowId = onePartner('row version')
  const left = new Map(rows.map((row) => [row.tag, row]))
  for (const { tag, owner, outermost, ran } of sent) {
    const row = left.get(tag)
    const { pid, txid } = ran ?? row ?? {}
    if (pid === undefined || txid === undefined) continue
    ofTransaction(outermost, `${txid} on ${pid}`)
    ofId(txid, outermost)
    if (row?.xmin === undefined) continue
    ofSavepoint(owner, row.xmin)
    ofRowId(row.xmin, owner)
  }
  return problems
}
