/** What is shown of one database. Whatever comes from outside is put in as text, never as HTML. */
import { Chart } from './chart.js'
import { ErrorList } from './errors.js'
import { count, duration, moment, place } from './format.js'
import { Table } from './table.js'
import { make, setText } from './text.js'

const NO_LABEL = '(no label)'
const KEPT_MILLIS = 300_000
const RATE_SECONDS = 10

const label = (row) => row.label ?? NO_LABEL
const site = (row) => place(row.site ?? '')
const statement = (row) => row.statement ?? ''
const time = (name, read, more) => ({
  label: name,
  isNumber: true,
  read: (row) => duration(read(row)),
  ...more,
})

const TABLES = {
  holders: {
    most: 12,
    title: 'Who holds connections',
    note: 'longest first',
    nothing: 'Nobody does.',
    columns: [
      { label: 'Label, and where it was taken', read: label, below: site, isCodeBelow: true },
      time('Held for', (row) => row.heldMillis),
      { label: 'Does', read: doing, below: statement, isCodeBelow: true },
    ],
  },
  statements: {
    most: 8,
    title: 'Slowest statements',
    note: 'since the start, without their values',
    nothing: 'None so far.',
    columns: [
      { label: 'Statement, and its last caller', isCode: true, read: (row) => row.fingerprint, below: label },
      time('Total', (row) => row.totalMillis, { sort: (row) => row.totalMillis }),
      time('Mean', (row) => row.meanMillis, { sort: (row) => row.meanMillis }),
      time('Max', (row) => row.maxMillis, { sort: (row) => row.maxMillis }),
      { label: 'Calls', isNumber: true, read: (row) => count(row.calls), sort: (row) => row.calls },
      { label: 'Errors', isNumber: true, read: (row) => count(row.errors), sort: (row) => row.errors },
    ],
  },
  times: {
    title: 'Times',
    note: 'of waiting for a connection, using it, and running a statement, in the last five minutes',
    nothing: 'None so far.',
    isCompact: true,
    columns: [
      { label: 'What', read: (row) => row.what },
      { label: 'Count', isNumber: true, read: (row) => count(row.count) },
      time('p50', (row) => row.p50Millis),
      time('p95', (row) => row.p95Millis),
      time('p99', (row) => row.p99Millis),
      time('Max', (row) => row.maxMillis),
    ],
  },
  leaks: {
    most: 5,
    title: 'Leaks',
    note: 'latest first',
    nothing: 'None reported. They are looked for where pool.leakThresholdMillis is set.',
    columns: [
      { label: 'Label, and where it was taken', read: label, below: site, isCodeBelow: true },
      { label: 'State', read: leakState, below: (row, now) => `reported ${moment(row.at, now)}` },
      time('Held for', (row) => row.heldMillis),
      { label: 'Ran', isCode: true, read: statement },
    ],
  },
}

function doing({ inTransaction, statement: running, suspicion }) {
  const what = running === null ? 'idle' : 'running'
  const text = inTransaction ? `${what} in transaction` : what
  return suspicion === null ? text : { text, level: 'warning' }
}

function leakState({ state }) {
  return state === 'held' ? { text: 'still out', level: 'critical' } : state
}

export class DatabaseView {
  #section
  #chart
  #errors
  #tables
  #tiles = new Map()
  #samples = []

  constructor(template, id) {
    this.#section = template.content.firstElementChild.cloneNode(true)
    this.#section.id = id
    const heading = this.#find('h2')
    heading.id = `${id}-name`
    this.#section.setAttribute('aria-labelledby', heading.id)
    this.#chart = new Chart(this.#find('.plot'), this.#find('.readout'))
    this.#errors = new ErrorList(this.#find('[data-errors]'))
    this.#tables = Object.entries(TABLES).map(([name, table]) => [
      name,
      new Table(this.#find(`[data-table="${name}"]`), table),
    ])
  }

  get section() {
    return this.#section
  }

  /** Keeps the samples of a report, whether it is shown or not. */
  keep({ samples }) {
    const last = this.#samples.at(-1)?.at ?? 0
    this.#samples.push(...samples.filter(({ at }) => at > last))
    const from = (this.#samples.at(-1)?.at ?? 0) - KEPT_MILLIS
    this.#samples = this.#samples.filter(({ at }) => at >= from)
  }

  /** @param now the server's time, in milliseconds since 1970 */
  show(report, now) {
    const { dialect, name, stats, times, url } = report
    const most = stats.size + stats.maxOverflow
    setText(this.#find('h2'), name)
    setText(this.#find('.where'), `${dialect} · ${url}`)
    this.#tile('in use', String(stats.used), `of ${most}`)
    this.#tile('idle', String(stats.idle), stats.creating > 0 ? `+${stats.creating} opening` : '')
    this.#tile('waiting', count(stats.waiting), '', stats.waiting > 0)
    this.#tile('waited in vain', count(stats.timedOut), '')
    this.#tile('p95 of waiting', duration(times.wait.p95Millis), '')
    const recent = this.#samples.slice(-RATE_SECONDS)
    const perSecond = recent.reduce((sum, { statements }) => sum + statements, 0) / Math.max(recent.length, 1)
    this.#tile('statements', count(Number(perSecond.toFixed(perSecond < 10 ? 1 : 0))), '/ s')
    this.#chart.show(this.#samples, most)
    const rows = {
      ...report,
      times: [
        { what: 'Waiting', ...times.wait },
        { what: 'Using', ...times.use },
        { what: 'Running', ...times.statement },
      ].filter((row) => row.count > 0),
    }
    for (const [of, table] of this.#tables) table.show(rows[of], now)
    this.#errors.show(report.errors, now)
  }

  #tile(name, figure, unit, isAlarming = false) {
    let tile = this.#tiles.get(name)
    if (tile === undefined) {
      tile = { box: make('div'), number: make('span'), small: make('small') }
      const value = make('dd')
      value.append(tile.number, ' ', tile.small)
      tile.box.append(make('dt', '', name), value)
      this.#find('.tiles').append(tile.box)
      this.#tiles.set(name, tile)
    }
    setText(tile.number, figure)
    setText(tile.small, unit)
    tile.box.classList.toggle('alarming', isAlarming)
  }

  #find(selector) {
    return this.#section.querySelector(selector)
  }
}
