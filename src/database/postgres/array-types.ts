/** Arrays of types that pg does not know, such as enums, domains and ranges: asked of the server once, when one comes up. */
import type { FieldDef } from 'pg'
import type { Session } from '../driver/session'
import { readArray } from './array-text'
import { plainly } from './own-statement'
import { AS_IT_IS, isPlain, type Parser, type Types } from './value-parsers'

interface ArrayType {
  readonly element: number
  readonly delimiter: string
}

/** Arrays among the types asked for, and what their elements are. An element of a domain is read as what lies under it. */
const LOOK_UP = `
  WITH RECURSIVE element (array_type, delimiter, type, base, category) AS (
    SELECT typarray, typdelim, oid, typbasetype, typcategory FROM pg_catalog.pg_type WHERE typarray = ANY ($1::oid[])
    UNION ALL
    SELECT array_type, delimiter, oid, typbasetype, typcategory FROM element JOIN pg_catalog.pg_type ON oid = base
  )
  SELECT array_type::text AS type, delimiter::text, type::text AS element, category::text FROM element WHERE base = 0`

interface Found {
  readonly type: string
  readonly delimiter: string
  readonly element: string
  readonly category: string
}

/** What is known of one database. */
export class ArrayTypes {
  /** Null for a type that is none. */
  readonly #known = new Map<number, ArrayType | null>()

  has(oid: number): boolean {
    return isPlain(oid) || this.#known.has(oid)
  }

  find(oid: number): ArrayType | null {
    return this.#known.get(oid) ?? null
  }

  async lookUp(oids: readonly number[], session: Pick<Session, 'run'>): Promise<void> {
    const { rows } = await session.run({ ...plainly(LOOK_UP), bindings: [oids] })
    for (const oid of oids) this.#known.set(oid, null)
    const nested: number[] = []
    for (const { type, delimiter, element, category } of rows as readonly Found[]) {
      this.#known.set(Number(type), { element: Number(element), delimiter })
      // A domain may stand for an array.
      if (this.has(Number(element))) continue
      if (category === 'A') nested.push(Number(element))
      else this.#known.set(Number(element), null)
    }
    if (nested.length > 0) await this.lookUp(nested, session)
  }
}

/** The parsers of one connection: those that its user has set, those of pg, and those of arrays. */
export class SessionTypes implements Types {
  readonly #raw: Types
  readonly #arrays: ArrayTypes

  constructor(raw: Types, arrays: ArrayTypes) {
    this.#raw = raw
    this.#arrays = arrays
  }

  getTypeParser(oid: number): Parser {
    const parser = this.#raw.getTypeParser(oid, 'text')
    const array = parser === AS_IT_IS ? this.#arrays.find(oid) : null
    if (array === null) return parser
    const element = this.getTypeParser(array.element)
    return (text) => readArray(text, array.delimiter, element)
  }

  /** Types of which nobody knows yet whether they are arrays. */
  unknownOf(fields: readonly FieldDef[]): readonly number[] {
    return fields
      .map(({ dataTypeID }) => dataTypeID)
      .filter((oid) => !this.#arrays.has(oid) && this.#raw.getTypeParser(oid, 'text') === AS_IT_IS)
  }

  lookUp(oids: readonly number[], session: Pick<Session, 'run'>): Promise<void> {
    return this.#arrays.lookUp(oids, session)
  }
}
