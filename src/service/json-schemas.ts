/** Makes JSON Schemas and examples of zod's schemas. Schemas with an id are kept once, as components. */
import * as z from 'zod'

type Json = Readonly<Record<string, unknown>>
type Direction = 'input' | 'output'

interface JsonSchema extends Json {
  readonly $ref?: string
  readonly $defs?: Readonly<Record<string, JsonSchema>>
  readonly type?: string
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly items?: JsonSchema
  readonly anyOf?: readonly JsonSchema[]
  readonly examples?: readonly unknown[]
}

const REFERENCE_PREFIX = '#/components/schemas/'

export interface Schemas {
  schemaOf(this: void, schema: z.ZodType, direction: Direction): Json
  /** Returns an example, made of the examples of the fields. */
  exampleOf(this: void, schema: z.ZodType, direction: Direction): unknown
  /** The schemas that have an id, by id: other schemas refer to them. */
  readonly components: Readonly<Record<string, Json>>
}

export function collectSchemas(): Schemas {
  const components: Record<string, JsonSchema> = {}

  function schemaOf(schema: z.ZodType, direction: Direction): JsonSchema {
    // Wrapped in an array, so that a schema with an id becomes a reference even at the top.
    const made = z.toJSONSchema(z.array(schema), {
      target: 'draft-2020-12',
      io: direction,
      override: ({ jsonSchema }) => removeRedundant(jsonSchema as Record<string, unknown>),
    })
    const text = JSON.stringify(made).replaceAll('"#/$defs/', `"${REFERENCE_PREFIX}`)
    const { items = {}, $defs = {} } = JSON.parse(text) as JsonSchema
    Object.assign(components, $defs)
    return items
  }

  function example(schema: JsonSchema): unknown {
    const { $ref, examples, anyOf, type, properties = {}, items = {} } = schema
    if ($ref !== undefined) return example(components[$ref.slice(REFERENCE_PREFIX.length)] ?? {})
    if (examples !== undefined) return examples[0]
    if ('default' in schema) return schema['default']
    if (anyOf?.[0] !== undefined) return example(anyOf[0])
    if (type === 'object')
      return Object.fromEntries(Object.entries(properties).map(([name, field]) => [name, example(field)]))
    if (type === 'array') return [example(items)]
    if (type === 'integer') return schema['minimum'] ?? 1
    return schema['format'] === 'date-time' ? '2026-11-26T12:00:00.000Z' : 'text'
  }

  return { schemaOf, exampleOf: (schema, direction) => example(schemaOf(schema, direction)), components }
}

/** Removes what is redundant: the bounds of every whole number, and the `id` that the reference has already. */
function removeRedundant(schema: Record<string, unknown>): void {
  if (schema['maximum'] === Number.MAX_SAFE_INTEGER) delete schema['maximum']
  if (schema['minimum'] === Number.MIN_SAFE_INTEGER) delete schema['minimum']
  if (schema['format'] !== undefined) delete schema['pattern']
  delete schema['id']
}
