/**
 * The interface that validation libraries share: Standard Schema 1, which Zod, Valibot, ArkType and others implement.
 *
 * Written down here after https://standardschema.dev, as that page proposes: from the package `@standard-schema/spec` it would
 * be a dependency of every program that uses this library, for twenty lines of types.
 */
export interface StandardSchema<Output = unknown> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined
  }
}

export type SchemaResult<Output> =
  { readonly value: Output; readonly issues?: undefined } | { readonly issues: readonly SchemaIssue[] }

export interface SchemaIssue {
  readonly message: string
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}
