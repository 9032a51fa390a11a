/** The verdict on one database: what is wrong, who causes it, since when, and what to do. */
import { ago, place } from './format.js'
import { make, setText } from './text.js'

const MARKS = { healthy: '✓', warning: '▲', critical: '✕', offline: '○' }

export class VerdictView {
  #article = make('article', 'verdict')
  #level = make('strong', 'level')
  #link = make('a')
  #summary = make('p', 'summary')
  #facts = make('dl', 'facts')
  #who = make('div')
  #since = make('span')
  #advice = make('span')

  /** @param section the id of the element that has the details */
  constructor(section) {
    this.#article.id = `${section}-verdict`
    this.#link.href = `#${section}`
    const state = make('p', 'state')
    state.append(this.#level, ' ', this.#link)
    this.#addFact('Who', this.#who)
    this.#addFact('Since', this.#since)
    this.#addFact('What to do', this.#advice)
    this.#article.append(state, this.#summary, this.#facts)
  }

  get article() {
    return this.#article
  }

  /** @param now the server's time, in milliseconds since 1970 */
  show(name, { advice, level, since, summary, suspects }, now) {
    this.#article.dataset.level = level
    this.#level.dataset.mark = MARKS[level]
    setText(this.#level, level)
    setText(this.#link, name)
    setText(this.#summary, summary)
    while (this.#who.children.length > suspects.length) this.#who.lastElementChild.remove()
    for (const [index, suspect] of suspects.entries()) this.#showSuspect(index, suspect)
    setText(this.#since, since === null ? '' : ago(since, now))
    setText(this.#advice, advice ?? '')
    for (const fact of this.#facts.children) fact.hidden = fact.lastElementChild.textContent === ''
    this.#facts.hidden = [...this.#facts.children].every(({ hidden }) => hidden)
  }

  #showSuspect(index, { holder: { site, statement }, summary }) {
    if (index === this.#who.children.length) {
      const line = make('p')
      line.append(make('span'), ' ', make('code'), ' ', make('small'))
      this.#who.append(line)
    }
    const [text, running, taken] = this.#who.children[index].children
    setText(text, summary)
    setText(running, statement ?? '')
    setText(taken, site === null ? '' : `Taken at ${place(site)}`)
  }

  #addFact(name, part) {
    const fact = make('div')
    const value = make('dd')
    value.append(part)
    fact.append(make('dt', '', name), value)
    this.#facts.append(fact)
  }
}
