/** The errors of one database: an entry for each code and place, which opens to the whole message of the latest one. */
import { count, moment } from './format.js'
import { make, setText } from './text.js'

const MOST_SHOWN = 6
const PARTS = ['place', 'count', 'times', 'gist', 'statement']

export class ErrorList {
  #list = make('ul', 'errors')
  #nothing = make('p', 'nothing', 'None so far.')
  #more = make('button', 'more')
  #entries = new Map()
  #showsAll = false

  constructor(panel) {
    const heading = make('h3', '', 'Errors ')
    heading.append(make('small', '', 'by code and place, latest first; open one for its whole message'))
    this.#list.setAttribute('aria-label', 'Errors')
    this.#more.type = 'button'
    this.#more.addEventListener('click', () => {
      this.#showsAll = !this.#showsAll
      this.#limit()
    })
    panel.append(heading, this.#nothing, this.#list, this.#more)
  }

  /** @param now the server's time, in milliseconds since 1970 */
  show(errors, now) {
    this.#nothing.hidden = errors.length > 0
    this.#list.hidden = errors.length === 0
    const codes = [...new Set(errors.map(({ code }) => code))]
    const byCode = errors.toSorted((a, b) => codes.indexOf(a.code) - codes.indexOf(b.code))
    const items = byCode.map((error) => this.#fill(error, now))
    for (const [key, item] of this.#entries) {
      if (items.includes(item)) continue
      item.remove()
      this.#entries.delete(key)
    }
    // An entry that moves loses the focus, and a click meets another one.
    if (!this.#list.matches(':hover, :focus-within')) {
      for (const [index, item] of items.entries()) {
        const before = this.#list.children[index] ?? null
        if (before !== item) this.#list.insertBefore(item, before)
      }
    }
    this.#markRepeated()
    this.#limit()
  }

  /** Of a full pool all callers say the same: the first of a code says it for those below. */
  #markRepeated() {
    let before = ''
    for (const item of this.#list.children) {
      const code = item.querySelector('.code').textContent
      item.classList.toggle('repeats', code === before && item.querySelector('.statement').textContent === '')
      before = code
    }
  }

  #fill({ code, count: number, firstAt, label, lastAt, message, statement }, now) {
    const key = JSON.stringify([code, label, statement])
    const item = this.#entries.get(key) ?? this.#add(key)
    const last = moment(lastAt, now)
    const texts = {
      code,
      label: label ?? '(no label)',
      count: `${count(number)} ×`,
      times: number === 1 ? last : `${moment(firstAt, now)} to ${last}`,
      gist: message.replace(/\s+/g, ' '),
      statement: statement ?? '',
    }
    for (const [part, text] of Object.entries(texts)) setText(item.querySelector(`.${part}`), text)
    setText(item.querySelector('pre'), statement === null ? message : `${message}\n\n${statement}`)
    return item
  }

  #add(key) {
    const item = make('li')
    const details = make('details')
    const summary = make('summary')
    // The blanks are for those who hear it.
    for (const part of PARTS) summary.append(make('span', part), ' ')
    summary.firstElementChild.append(make('span', 'code'), ' ', make('span', 'label'))
    details.append(summary, make('pre'))
    item.append(details)
    this.#list.append(item)
    this.#entries.set(key, item)
    return item
  }

  #limit() {
    const items = [...this.#list.children]
    for (const [index, item] of items.entries()) item.hidden = !this.#showsAll && index >= MOST_SHOWN
    this.#more.hidden = items.length <= MOST_SHOWN
    setText(this.#more, this.#showsAll ? 'Show fewer' : `Show all ${items.length}`)
  }
}
