/** The page: listens to the stream, shows each database, and says aloud only what changes for the worse or the better. */
import { DatabaseView } from './database.js'
import { duration } from './format.js'
import { setText } from './text.js'
import { VerdictView } from './verdict.js'

const LOST_MILLIS = 5000

const main = document.querySelector('#databases')
const overview = document.querySelector('#overview')
const stream = document.querySelector('#stream')
const pause = document.querySelector('#pause')
const announcer = document.querySelector('#announcer')
const template = document.querySelector('#database')

const views = []
const verdicts = []
const levels = new Map()
let source = null
let latest = null
let heardAt = performance.now()
let isPaused = false

function listen() {
  source?.close()
  source = new EventSource('events')
  source.addEventListener('message', ({ data }) => {
    heardAt = performance.now()
    latest = JSON.parse(data)
    for (const [index, report] of latest.databases.entries()) viewOf(index).keep(report)
    if (!isPaused) show()
    showStream()
  })
  source.addEventListener('error', () => {
    showStream()
    // A refusal ends an EventSource for good; a lost connection does not.
    if (source?.readyState === EventSource.CLOSED) setTimeout(listen, LOST_MILLIS)
  })
}

function viewOf(index) {
  if (views[index] === undefined) {
    const view = new DatabaseView(template, `database-${index + 1}`)
    main.append(view.section)
    views[index] = view
    verdicts[index] = new VerdictView(view.section.id)
    overview.append(verdicts[index].article)
  }
  return views[index]
}

function show() {
  if (latest === null) return
  const { at, databases } = latest
  for (const [index, report] of databases.entries()) {
    verdicts[index].show(report.name, report.verdict, at)
    views[index].show(report, at)
  }
  const troubled = databases.filter(({ verdict }) => verdict.level !== 'healthy')
  const title = troubled.map(({ name, verdict }) => `${name} ${verdict.level}`).join(', ')
  document.title = title === '' ? 'Pool monitor' : `${title} · Pool monitor`
  announce(databases)
}

/** Whoever listens to the page hears of a change, and not of each second. */
function announce(databases) {
  const changed = databases.filter(({ name, verdict }) => levels.get(name) !== verdict.level)
  const isFirst = levels.size === 0
  for (const { name, verdict } of changed) levels.set(name, verdict.level)
  if (changed.length === 0 || isFirst) return
  announcer.textContent = changed
    .map(({ name, verdict: { advice, level, summary, suspects } }) => {
      const who = suspects.map((suspect) => suspect.summary)
      return [`${name} is ${level}.`, summary, ...who, advice ?? ''].join(' ')
    })
    .join(' ')
}

function showStream() {
  const silentMillis = performance.now() - heardAt
  const isLost = silentMillis > LOST_MILLIS || (latest !== null && source?.readyState !== EventSource.OPEN)
  const state = isLost ? 'lost' : isPaused ? 'paused' : latest === null ? 'connecting' : 'live'
  const texts = {
    lost: `No news for ${duration(Math.max(silentMillis, 1000))}`,
    paused: 'Paused',
    connecting: 'Connecting',
    live: 'Live',
  }
  setText(stream, texts[state])
  if (state === 'lost' && stream.dataset.state === 'live')
    announcer.textContent = 'The connection to the monitor is lost.'
  stream.dataset.state = state
  // What was true when the last news came may be so no more.
  main.classList.toggle('stale', state === 'lost')
  overview.classList.toggle('stale', state === 'lost')
}

pause.addEventListener('click', () => {
  isPaused = !isPaused
  pause.textContent = isPaused ? 'Go on' : 'Pause'
  if (!isPaused) show()
  showStream()
})

// Nobody looks at a page in the background, and the server need not tell it anything.
document.addEventListener('visibilitychange', () => {
  if (document.hidden) {
    source?.close()
    source = null
  } else if (source === null) listen()
})

setInterval(showStream, 1000)
listen()
