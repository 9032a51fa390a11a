/** Array types that pg does not know, such as those of enums, domains and ranges: looked up on the server, once each. */
import type { FieldDef } from 'pg'
import type { Session } from '../driver/session'
import { ownStatement } from './simple-query'
import { IDENTITY_PARSER, isBuiltInScalar, type Parser, readArray, type TypeParsers } from './value-parsers'

interface ArrayType {
  readonly element: number
  readonly delimiter: string
}

/** Finds the array types among `$1`, with their element types. A domain counts as the type that it is based on. */
const FIND_ARRAY_TYPES = `
  WITH RECURSIVE element (array_type, delimiter, type, base, category) AS (
    SELECT typarray, typdelim, oid, typbasetype, typcategory FROM pg_catalog.pg_type WHERE typarray = ANY ($1::oid[])
    UNION ALL
    SELECT array_type, delimiter, oid, typbasetype, typcategory FROM element JOIN pg_catalog.pg_type ON oid = base
  )
  SELECT array_type::text AS type, delimiter::text, type::text AS element, category::text FROM element WHERE base = 0`

interface ArrayTypeRow {
  readonly type: string
  readonly delimiter: string
  readonly element: string
  readonly category: string
}

/** The array types of one database that have been looked up so far. */
export class ArrayTypes {
  /** By the type's oid; null for a type that is not an array. */
  readonly #known = new Map<number, ArrayType | null>()

  /** Returns whether it is known if the type is an array. */
  has(oid: number): boolean {
    return isBuiltInScalar(oid) || this.#known.has(oid)
  }

  find(oid: number): ArrayType | null {
    return this.#known.get(oid) ?? null
  }

  async lookUp(oids: readonly number[], session: Pick<Session, 'run'>): Promise<void> {
    const { rows } = await session.run(ownStatement(FIND_ARRAY_TYPES, [oids]))
    for (const oid of oids) this.#known.set(oid, null)
    const nested: number[] = []
    for (const { type, delimiter, element, category } of rows as readonly ArrayTypeRow[]) {
      this.#known.set(Number(type), { element: Number(element), delimiter })
      // An element can be a domain over an array.
      if (this.has(Number(element))) continue
      if (category === 'A') nested.push(Number(element))
      else this.#known.set(Number(element), null)
    }
    if (nested.length > 0) await this.lookUp(nested, session)
  }
}

/** The type parsers of one connection: those that the caller has set, those of pg, and those of looked-up arrays. */
export class SessionTypeParsers implements TypeParsers {
  readonly #raw: TypeParsers
  readonly #arrays: ArrayTypes

  constructor(raw: TypeParsers, arrays: ArrayTypes) {
    this.#raw = raw
    this.#arrays = arrays
  }

  getTypeParser(oid: number): Parser {
    const parser = this.#raw.getTypeParser(oid, 'text')
    const array = parser === IDENTITY_PARSER ? this.#arrays.find(oid) : null
    if (array === null) return parser
    const element = this.getTypeParser(array.element)
    return (text) => readArray(text, array.delimiter, element)
  }

  /** Returns the types of these columns that have to be looked up before it is known whether they are arrays. */
  unknownTypes(fields: readonly FieldDef[]): readonly number[] {
    return fields
      .map(({ dataTypeID }) => dataTypeID)
      .filter((oid) => !this.#arrays.has(oid) && this.#raw.getTypeParser(oid, 'text') === IDENTITY_PARSER)
  }

  lookUp(oids: readonly number[], session: Pick<Session, 'run'>): Promise<void> {
    return this.#arrays.lookUp(oids, session)
  }
}
