/** A table that is brought up to date in place, so that a selection, the focus and the place read at stay. */
import { make, setText } from './text.js'

export class Table {
  #columns
  #body
  #table
  #nothing
  #rows = []
  #now = 0
  #sortedBy
  #most
  #more
  #heads = new Map()

  /**
   * A column is `{ label, read }`, where `read` gives the text of a row's cell, or `{ text, level }` for a mark; further
   * `below`, which gives a second line, `isNumber`, `isCode`, `isCodeBelow`, and `sort`, which gives the number by which its
   * button sorts.
   * What is long stands in two lines rather than in two columns: of many columns none is wide enough to be read.
   */
  constructor(panel, { title, note, columns, nothing, isCompact, most = Infinity }) {
    this.#columns = columns
    this.#most = most
    this.#sortedBy = columns.find(({ sort }) => sort)
    const heading = make('h3', '', title)
    if (note) heading.append(' ', make('small', '', note))
    // Blocks made of rows on narrow screens would be no table any more without these roles.
    this.#table = withRole('table', 'table')
    const head = withRole('thead', 'rowgroup')
    const row = withRole('tr', 'row')
    for (const column of columns) row.append(this.#headOf(column))
    head.append(row)
    this.#body = withRole('tbody', 'rowgroup')
    this.#table.setAttribute('aria-label', title)
    this.#table.classList.toggle('compact', isCompact === true)
    this.#table.append(head, this.#body)
    this.#nothing = make('p', 'nothing', nothing)
    this.#more = make('button', 'more')
    this.#more.type = 'button'
    this.#more.hidden = true
    this.#more.addEventListener('click', () => {
      this.#most = this.#most === Infinity ? most : Infinity
      this.show(this.#rows, this.#now)
    })
    panel.append(heading, this.#table, this.#nothing, this.#more)
  }

  /** @param now the server's time, in milliseconds since 1970 */
  show(rows, now) {
    this.#rows = rows
    this.#now = now
    this.#table.hidden = rows.length === 0
    this.#nothing.hidden = rows.length > 0
    const sort = this.#sortedBy?.sort
    const sorted = sort ? rows.toSorted((a, b) => sort(b) - sort(a)) : rows
    const shown = sorted.slice(0, this.#most)
    while (this.#body.rows.length > shown.length) this.#body.deleteRow(-1)
    for (const [index, row] of shown.entries()) this.#fill(this.#body.rows[index] ?? this.#addRow(), row)
    this.#hideEmptyColumns()
    if (this.#most !== Infinity) this.#more.hidden = rows.length <= this.#most
    setText(this.#more, this.#most === Infinity ? 'Show fewer' : `Show all ${rows.length}`)
  }

  /** A column in which nobody has anything to say only takes the others' place. */
  #hideEmptyColumns() {
    const rows = [...this.#body.rows]
    for (const [index, column] of this.#columns.entries()) {
      const isEmpty = rows.every((row) => row.cells[index].textContent === '')
      this.#heads.get(column).hidden = isEmpty
      for (const row of rows) row.cells[index].hidden = isEmpty
    }
  }

  #headOf(column) {
    const head = withRole('th', 'columnheader')
    head.scope = 'col'
    if (column.isNumber) head.className = 'number'
    this.#heads.set(column, head)
    if (!column.sort) {
      head.textContent = column.label
      return head
    }
    const button = make('button', '', column.label)
    button.type = 'button'
    button.addEventListener('click', () => this.#sortBy(column))
    head.append(button)
    if (column === this.#sortedBy) head.setAttribute('aria-sort', 'descending')
    return head
  }

  #sortBy(column) {
    this.#heads.get(this.#sortedBy)?.removeAttribute('aria-sort')
    this.#heads.get(column).setAttribute('aria-sort', 'descending')
    this.#sortedBy = column
    this.show(this.#rows, this.#now)
  }

  #addRow() {
    const row = withRole('tr', 'row')
    for (const [index, { below, isCode, isCodeBelow, isNumber, label }] of this.#columns.entries()) {
      const cell = index === 0 ? withRole('th', 'rowheader') : withRole('td', 'cell')
      if (index === 0) cell.scope = 'row'
      cell.dataset.label = label
      cell.className = isNumber ? 'number' : isCode ? 'code' : below ? 'text' : 'word'
      cell.append(make('span'))
      if (below) cell.append(make('small', isCodeBelow ? 'code' : ''))
      row.append(cell)
    }
    this.#body.append(row)
    return row
  }

  #fill(row, of) {
    for (const [index, { below, read }] of this.#columns.entries()) {
      const value = read(of)
      const { text, level = '' } = typeof value === 'object' ? value : { text: value }
      const { firstElementChild: main, lastElementChild: second } = row.cells[index]
      setText(main, text)
      main.className = level === '' ? '' : 'tag'
      main.dataset.level = level
      if (below) setText(second, below(of, this.#now))
    }
  }
}

function withRole(name, role) {
  const made = document.createElement(name)
  made.setAttribute('role', role)
  return made
}
