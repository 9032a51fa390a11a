/** Figures as people read them. */

/** 0.42 ms, 12 ms, 1.3 s, 4 min 10 s. */
export function duration(millis) {
  if (millis < 0.995) return `${millis.toFixed(2)} ms`
  if (millis < 9.95) return `${millis.toFixed(1)} ms`
  if (millis < 999.5) return `${millis.toFixed(0)} ms`
  const seconds = millis / 1000
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`
  if (seconds < 119.5) return `${seconds.toFixed(0)} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 120) return `${minutes} min ${Math.floor(seconds % 60)} s`
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

export function count(number) {
  return number.toLocaleString('en')
}

/** The time of day, of the one who looks. */
export function clock(at) {
  return new Date(at).toLocaleTimeString([], {
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
  })
}

const DAY_MILLIS = 86_400_000

/** The time of day, with the day if that may be another one. Both are moments of the server. */
export function moment(at, now) {
  const time = clock(at)
  if (now - Date.parse(at) < DAY_MILLIS / 2) return time
  return `${new Date(at).toLocaleDateString([], { day: 'numeric', month: 'short' })} ${time}`
}

/** 12:01:02, 4 min 10 s ago. */
export function ago(at, now) {
  const millis = now - Date.parse(at)
  return millis < 1000 ? `${moment(at, now)}, just now` : `${moment(at, now)}, ${duration(millis)} ago`
}

/** `place (folder/file.ts:12)` of a line of a stack; pool.json has the whole of it. */
export function place(site) {
  const [, name = '', file = site] = /^(?:at )?(?:(.*?) \()?(.*?)\)?$/.exec(site) ?? []
  const short = file.replace(/^.*?([^/\\]+[/\\][^/\\]+)$/, '$1').replace(/(:\d+):\d+$/, '$1')
  return name === '' || name.includes('<anonymous>') ? short : `${name} (${short})`
}
