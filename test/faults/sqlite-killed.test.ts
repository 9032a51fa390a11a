/** A process that is killed while it writes a SQLite file: the file stays intact and holds every acknowledged write. */
import { setTimeout as delay } from 'node:timers/promises'
import { rounds } from '../support/rounds'
import { Database } from '../../src/database'
import { within } from '../support/exact'
import { ScriptProcess } from '../support/faults/script-process'
import type { WritingScript } from '../support/faults/writing-script'
import { randomFrom } from '../support/random-from'
import { sqliteScratches } from '../support/each-database'
import { standingCheck } from '../support/standing-check'

const ROUNDS = rounds(6, 20)
const WRITERS = 4
/** Twenty processes are started, which takes time on a busy machine. */
const LONGEST_MILLIS = 90_000
const SEED = process.env['MILLPOND_SEED']

const TABLES = [
  'create table parents (id text primary key, note text not null)',
  'create table children (parent text primary key references parents (id))',
  'create table lone_parents (id text primary key, note text not null)',
  'create table lone_children (parent text primary key references lone_parents (id))',
  `create trigger accompany after insert on lone_parents
   begin insert into lone_children (parent) values (new.id); end`,
]

/** Rows of an incomplete transaction or statement. */
const HALVES = `
  select id from parents where id not in (select parent from children)
  union all select id from lone_parents where id not in (select parent from lone_children)`

describe.each(sqliteScratches())(
  'a process that is killed while it writes a SQLite file: $title',
  (scratch) => {
    standingCheck()
    const seed = SEED === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(SEED)
    const random = randomFrom(seed)
    let url = ''

    beforeAll(async () => {
      url = await scratch.create()
      await using database = new Database(url)
      await database.connect()
      for (const sql of TABLES) await database.execute(sql)
    })
    afterAll(() => scratch.dropAll())

    const start = (round: number): ScriptProcess => {
      const argument: WritingScript = { url, name: `round${round}`, writers: WRITERS }
      return new ScriptProcess('writing-script.ts', argument)
    }

    /** Lets the process write for a while, kills it, and returns the acknowledged ids. */
    const writeUntilKilled = async (script: ScriptProcess): Promise<readonly string[]> => {
      await script.line(0)
      script.tell('go')
      await script.line(1)
      await delay(50 + random(201))
      script.kill()
      expect([await script.ended(), script.complaints]).toEqual(['SIGKILL', ''])
      return script.lines.slice(1)
    }

    const check = async (acknowledged: ReadonlySet<string>): Promise<number> => {
      await using database = new Database(url)
      await database.connect()
      const begun = performance.now()
      await database.execute('create table if not exists visits (id integer primary key)')
      await database.execute('insert into visits default values')
      const tookMillis = performance.now() - begun

      expect(await database.fetchAll('pragma integrity_check')).toEqual([{ integrity_check: 'ok' }])
      expect(await database.fetchAll('pragma foreign_key_check')).toEqual([])
      expect(await database.fetchAll(HALVES)).toEqual([])
      const rows = await database.fetchAll<{ id: string }>(
        'select parent as id from children union all select parent from lone_children',
      )
      const there = new Set(rows.map(({ id }) => id))
      expect([...acknowledged].filter((id) => !there.has(id))).toEqual([])
      return tookMillis
    }

    it(
      'leaves the file intact, loses no acknowledged write, and lets the next process write at once',
      async () => {
        const acknowledged = new Set<string>()
        let longestMillis = 0
        let next = start(1)
        try {
          for (let round = 1; round <= ROUNDS; round += 1) {
            const script = next
            // The next process starts meanwhile.
            if (round < ROUNDS) next = start(round + 1)
            try {
              for (const id of await writeUntilKilled(script)) acknowledged.add(id)
            } finally {
              await script[Symbol.asyncDispose]()
            }
            longestMillis = Math.max(longestMillis, await check(acknowledged))
          }
        } catch (cause) {
          throw new Error(`With MILLPOND_SEED=${seed} it fails`, { cause })
        } finally {
          await next[Symbol.asyncDispose]()
        }
        process.stdout.write(
          `${ROUNDS} kills, seed ${seed}: ${acknowledged.size} acknowledged writes, all there; ` +
            `the first write after a kill took ${Math.round(longestMillis)} ms at most\n`,
        )
        expect(longestMillis).toBeLessThan(within(1000, 10_000))
      },
      LONGEST_MILLIS,
    )
  },
)
