/** A table that is brought up to date in place, so that a selection, the focus and the place read at stay. */

export class Table {
  #columns
  #body
  #table
  #nothing
  #rows = []
  #sortedBy
  #most
  #more
  #heads = new Map()

  /**
   * A column is `{ label, read }`, where `read` gives the text of a row's cell, or `{ text, level }` for a mark; further
   * `isNumber`, `isCode`, `isLabel`, `isWide`, and `sort`, which gives the number by which its button sorts.
   */
  constructor(panel, { title, note, columns, nothing, isCompact, most = Infinity }) {
    this.#columns = columns
    this.#most = most
    this.#sortedBy = columns.find(({ sort }) => sort)
    const heading = document.createElement('h3')
    heading.textContent = title
    if (note) {
      const small = document.createElement('small')
      small.textContent = ` ${note}`
      heading.append(small)
    }
    // Blocks made of rows on narrow screens would be no table any more without these roles.
    this.#table = make('table', 'table')
    const head = make('thead', 'rowgroup')
    const row = make('tr', 'row')
    for (const column of columns) row.append(this.#headOf(column))
    head.append(row)
    this.#body = make('tbody', 'rowgroup')
    this.#table.setAttribute('aria-label', title)
    this.#table.classList.toggle('compact', isCompact === true)
    this.#table.append(head, this.#body)
    this.#nothing = document.createElement('p')
    this.#nothing.className = 'nothing'
    this.#nothing.textContent = nothing
    this.#more = document.createElement('button')
    this.#more.type = 'button'
    this.#more.className = 'more'
    this.#more.hidden = true
    this.#more.addEventListener('click', () => {
      this.#most = this.#most === Infinity ? most : Infinity
      this.show(this.#rows)
    })
    panel.append(heading, this.#table, this.#nothing, this.#more)
  }

  show(rows) {
    this.#rows = rows
    this.#table.hidden = rows.length === 0
    this.#nothing.hidden = rows.length > 0
    const sort = this.#sortedBy?.sort
    const sorted = sort ? rows.toSorted((a, b) => sort(b) - sort(a)) : rows
    const shown = sorted.slice(0, this.#most)
    while (this.#body.rows.length > shown.length) this.#body.deleteRow(-1)
    for (const [index, row] of shown.entries()) this.#fill(this.#body.rows[index] ?? this.#addRow(), row)
    this.#hideEmptyColumns()
    if (this.#most !== Infinity) this.#more.hidden = rows.length <= this.#most
    const text = this.#most === Infinity ? 'Show fewer' : `Show all ${rows.length}`
    if (this.#more.textContent !== text) this.#more.textContent = text
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
    const head = make('th', 'columnheader')
    head.scope = 'col'
    if (column.isNumber) head.className = 'number'
    this.#heads.set(column, head)
    if (!column.sort) {
      head.textContent = column.label
      return head
    }
    const button = document.createElement('button')
    button.type = 'button'
    button.textContent = column.label
    button.addEventListener('click', () => this.#sortBy(column))
    head.append(button)
    if (column === this.#sortedBy) head.setAttribute('aria-sort', 'descending')
    return head
  }

  #sortBy(column) {
    this.#heads.get(this.#sortedBy)?.removeAttribute('aria-sort')
    this.#heads.get(column).setAttribute('aria-sort', 'descending')
    this.#sortedBy = column
    this.show(this.#rows)
  }

  #addRow() {
    const row = make('tr', 'row')
    for (const [index, { isCode, isLabel, isNumber, isWide, label }] of this.#columns.entries()) {
      const cell = index === 0 ? make('th', 'rowheader') : make('td', 'cell')
      if (index === 0) cell.scope = 'row'
      cell.dataset.label = label
      cell.className = isNumber ? 'number' : isCode ? 'code' : isLabel ? 'label' : isWide ? 'wide' : ''
      row.append(cell)
    }
    this.#body.append(row)
    return row
  }

  #fill(row, of) {
    for (const [index, { read }] of this.#columns.entries()) {
      const value = read(of)
      const { text, level } = typeof value === 'object' ? value : { text: value }
      const cell = row.cells[index]
      if (cell.textContent === text && (cell.firstElementChild?.dataset.level ?? undefined) === level)
        continue
      if (level === undefined) {
        cell.textContent = text
        continue
      }
      const tag = document.createElement('span')
      tag.className = 'tag'
      tag.dataset.level = level
      tag.textContent = text
      cell.replaceChildren(tag)
    }
  }
}

function make(name, role) {
  const made = document.createElement(name)
  made.setAttribute('role', role)
  return made
}
