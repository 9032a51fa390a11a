/** What is shown of one database. Whatever comes from outside is put in as text, never as HTML. */
import { Chart } from './chart.js'
import { clock, count, duration, place } from './format.js'
import { Table } from './table.js'

const MARKS = { healthy: '✓', warning: '▲', critical: '✕', offline: '○' }
const NO_LABEL = '(no label)'
const KEPT_MILLIS = 300_000
const RATE_SECONDS = 10

const label = { label: 'Label', isLabel: true, read: (row) => row.label ?? NO_LABEL }
const statement = { label: 'Statement', isCode: true, read: (row) => row.statement ?? '' }
const site = { label: 'Taken at', isCode: true, read: (row) => place(row.site ?? '') }
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
      label,
      time('Held for', (row) => row.heldMillis),
      { label: 'Does', read: doing },
      statement,
      site,
    ],
  },
  statements: {
    most: 8,
    title: 'Slowest statements',
    note: 'since the start, without their values',
    nothing: 'None so far.',
    columns: [
      { label: 'Statement', isCode: true, read: (row) => row.fingerprint },
      { label: 'Last by', isLabel: true, read: (row) => row.label ?? NO_LABEL },
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
  errors: {
    most: 5,
    title: 'Errors',
    note: 'latest first',
    nothing: 'None so far.',
    columns: [
      { label: 'Code', isCode: true, read: (row) => row.code },
      { label: 'Last at', read: (row) => clock(row.at) },
      { label: 'Count', isNumber: true, read: (row) => count(row.count) },
      label,
      { label: 'Message', isWide: true, read: (row) => row.message },
      statement,
    ],
  },
  leaks: {
    most: 5,
    title: 'Leaks',
    note: 'latest first',
    nothing: 'None reported. They are looked for where pool.leakThresholdMillis is set.',
    columns: [
      label,
      { label: 'State', read: leakState },
      time('Held for', (row) => row.heldMillis),
      { label: 'Reported at', read: (row) => clock(row.at) },
      statement,
      site,
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

  show(report) {
    const { dialect, name, stats, times, url, verdict } = report
    const most = stats.size + stats.maxOverflow
    setText(this.#find('h2'), name)
    setText(this.#find('.where'), `${dialect} · ${url}`)
    this.#find('.verdict').dataset.level = verdict.level
    const level = this.#find('.level')
    level.dataset.mark = MARKS[verdict.level]
    setText(level, verdict.level)
    setText(this.#find('.summary'), verdict.summary)
    setText(this.#find('.advice'), verdict.advice ?? '')
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
    for (const [of, table] of this.#tables) table.show(rows[of])
  }

  #tile(name, figure, unit, isAlarming = false) {
    let tile = this.#tiles.get(name)
    if (tile === undefined) {
      const box = document.createElement('div')
      const term = document.createElement('dt')
      const value = document.createElement('dd')
      const number = document.createElement('span')
      const small = document.createElement('small')
      term.textContent = name
      value.append(number, ' ', small)
      box.append(term, value)
      this.#find('.tiles').append(box)
      tile = { box, number, small }
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

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text
}
