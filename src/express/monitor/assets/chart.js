/** The chart of a pool: connections in use, on average and at most, and those open as areas; those who wait as bars below. */
import { clock, duration } from './format.js'

/** It begins with what fits in half a minute, and grows to five. */
const LEAST_SPAN_MILLIS = 30_000
const MOST_SPAN_MILLIS = 300_000
/** Samples that are further apart belong to two stretches: nothing is known of what lies between. */
const GAP_MILLIS = 3500
const LEFT = 30
const RIGHT = 8
const TOP = 12
const BARS_HEIGHT = 34
const AXIS_HEIGHT = 18
const PANEL_GAP = 12

const NAMESPACE = 'http://www.w3.org/2000/svg'

export class Chart {
  #plot
  #readout
  #samples = []
  #most = 1
  #width = 0
  /** The moment that is looked at, or null. */
  #at = null

  constructor(plot, readout) {
    this.#plot = plot
    this.#readout = readout
    plot.addEventListener('pointermove', (event) => {
      this.#look(this.#timeOf(event.clientX - plot.getBoundingClientRect().left))
    })
    plot.addEventListener('pointerleave', () => this.#look(null))
    plot.addEventListener('blur', () => this.#look(null))
    plot.addEventListener('keydown', (event) => this.#step(event))
    new ResizeObserver(() => {
      this.#width = plot.clientWidth
      this.draw()
    }).observe(plot)
  }

  show(samples, most) {
    this.#samples = samples
    this.#most = most
    this.draw()
  }

  draw() {
    if (this.#width === 0) return
    const height = this.#plot.clientHeight
    const bottom = height - AXIS_HEIGHT - BARS_HEIGHT - PANEL_GAP
    const barsBottom = height - AXIS_HEIGHT
    const shown = this.#shown()
    const highest = Math.max(this.#most, ...shown.map(({ mostUsed, open }) => Math.max(mostUsed, open)), 1)
    const mostWaiting = Math.max(1, ...shown.map(({ waiting }) => waiting))
    const span = this.#span()
    const x = (at) => LEFT + (1 - (this.#end() - at) / span) * this.#inner()
    const y = (value) => bottom - (value / highest) * (bottom - TOP)
    const children = []
    for (const tick of ticks(highest)) {
      children.push(
        line('grid', LEFT, this.#width - RIGHT, y(tick)),
        text(String(tick), LEFT - 6, y(tick) + 4, 'end'),
      )
    }
    for (const stretch of stretches(shown)) {
      const upper = stretch.map(({ at, open, used }) => [x(at), y(Math.max(open, used))])
      const middle = stretch.map(({ at, used }) => [x(at), y(used)])
      const peak = stretch.map(({ at, mostUsed }) => [x(at), y(mostUsed)])
      const lower = stretch.map(({ at }) => [x(at), y(0)])
      children.push(
        element('path', { class: 'idle-area', d: `${path([...upper, ...middle.toReversed()])}Z` }),
        element('path', { class: 'used-area', d: `${path([...middle, ...lower.toReversed()])}Z` }),
        element('path', { class: 'peak-line', d: path(peak) }),
        element('path', { class: 'used-line', d: path(middle) }),
      )
    }
    children.push(line('most', LEFT, this.#width - RIGHT, y(this.#most)))
    children.push(text(`most: ${this.#most}`, this.#width - RIGHT, y(this.#most) - 3, 'end'))
    const bars = shown
      .filter(({ waiting }) => waiting > 0)
      .map(({ at, waiting }) =>
        bar(x(at), barsBottom, (waiting / mostWaiting) * BARS_HEIGHT, (1000 / span) * this.#inner()),
      )
    children.push(
      line('grid', LEFT, this.#width - RIGHT, barsBottom),
      element('path', { class: 'bars', d: bars.join('') }),
    )
    if (bars.length > 0) {
      children.push(text(String(mostWaiting), LEFT - 6, barsBottom - BARS_HEIGHT + 8, 'end', 'waiting-text'))
    } else children.push(text('nobody waited', LEFT + 4, barsBottom - 6, 'start'))
    children.push(
      text(`${duration(span)} ago`, LEFT, height - 4, 'start'),
      text('now', this.#width - RIGHT, height - 4, 'end'),
    )
    const looked = this.#looked(shown)
    if (looked !== undefined) {
      children.push(
        element('line', { class: 'cursor', x1: x(looked.at), x2: x(looked.at), y1: TOP, y2: barsBottom }),
      )
    }
    const svg = element('svg', { width: this.#width, height, 'aria-hidden': 'true' })
    svg.append(...children)
    this.#plot.replaceChildren(svg)
    this.#tell(shown, looked)
  }

  #tell(shown, looked) {
    const latest = shown.at(-1)
    if (latest === undefined) return
    const words = ({ used, mostUsed, open, waiting, statements, errors }) =>
      `${used} in use (peak ${mostUsed}) of ${open} open, ${waiting} waiting, ${statements} statements, ${errors} errors`
    this.#readout.textContent = looked === undefined ? '' : `${clock(looked.at)}: ${words(looked)}`
    const peak = Math.max(...shown.map(({ mostUsed }) => mostUsed))
    const waited = Math.max(...shown.map(({ waiting }) => waiting))
    const name =
      `Connections of late: at most ${peak} of ${this.#most} in use, at most ${waited} waiting. ` +
      'The arrow keys tell of each second.'
    if (this.#plot.getAttribute('aria-label') !== name) this.#plot.setAttribute('aria-label', name)
  }

  #step(event) {
    const shown = this.#shown()
    const index = shown.indexOf(this.#looked(shown) ?? shown.at(-1))
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -30, PageDown: 30, Home: -Infinity, End: Infinity }
    if (event.key === 'Escape') this.#look(null)
    if (!(event.key in steps) || shown.length === 0) return
    event.preventDefault()
    const to = Math.min(Math.max(index + steps[event.key], 0), shown.length - 1)
    this.#look(shown[to].at)
    // Heard only by those who asked for it by a key.
    this.#readout.setAttribute('role', 'status')
  }

  #look(at) {
    this.#at = at
    this.#readout.removeAttribute('role')
    this.draw()
  }

  #looked(shown) {
    if (this.#at === null) return undefined
    const distance = (sample) => Math.abs(sample.at - this.#at)
    return shown.reduce((best, one) => (distance(one) < distance(best) ? one : best), shown[0])
  }

  #timeOf(left) {
    return this.#end() - (1 - (left - LEFT) / this.#inner()) * this.#span()
  }

  #span() {
    const known = this.#end() - (this.#samples[0]?.at ?? 0)
    return Math.min(Math.max(known, LEAST_SPAN_MILLIS), MOST_SPAN_MILLIS)
  }

  #inner() {
    return this.#width - LEFT - RIGHT
  }

  #end() {
    return this.#samples.at(-1)?.at ?? 0
  }

  #shown() {
    const from = this.#end() - MOST_SPAN_MILLIS
    return this.#samples.filter(({ at }) => at >= from)
  }
}

function stretches(samples) {
  const found = []
  for (const sample of samples) {
    const last = found.at(-1)
    if (last !== undefined && sample.at - last.at(-1).at < GAP_MILLIS) last.push(sample)
    else found.push([sample])
  }
  return found
}

/** Up to five whole numbers from 0 up. */
function ticks(highest) {
  const step = [1, 2, 5, 10, 20, 25, 50, 100, 250, 500, 1000, 2500].find((one) => highest / one <= 4) ?? 5000
  return Array.from({ length: Math.floor(highest / step) + 1 }, (_, index) => index * step)
}

function path(points) {
  return points.map(([x, y], index) => `${index === 0 ? 'M' : 'L'}${x.toFixed(1)} ${y.toFixed(1)}`).join('')
}

function bar(x, bottom, height, second) {
  const width = Math.max(1.5, second * 0.8)
  return `M${(x - width).toFixed(1)} ${bottom}h${width.toFixed(1)}v${(-Math.max(height, 2)).toFixed(1)}h${(-width).toFixed(1)}Z`
}

function line(kind, from, to, y) {
  return element('line', { class: kind, x1: from, x2: to, y1: y, y2: y })
}

function text(content, x, y, anchor, kind = '') {
  const made = element('text', { x, y, class: kind, 'text-anchor': anchor })
  made.textContent = content
  return made
}

function element(name, attributes) {
  const made = document.createElementNS(NAMESPACE, name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value))
  return made
}
