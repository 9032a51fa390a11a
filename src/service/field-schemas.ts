/** The schemas of the service's input fields, with their limits. */
import * as z from 'zod'

/** The largest id of a 32-bit column, as both databases have it. */
const LARGEST_ID = 2_147_483_647

export const id = z.int().min(1).max(LARGEST_ID)

/** One line of text: its ends are trimmed, and it holds no control character. PostgreSQL cannot store NUL. */
export function line(longest: number): z.ZodString {
  return z
    .string()
    .trim()
    .min(1)
    .max(longest)
    .regex(/^[^\p{Cc}\p{Cs}]*$/u, 'Control characters and broken Unicode are not allowed')
}

/** Text of any number of lines, kept as it is. */
export function text(longest: number): z.ZodString {
  return z
    .string()
    .min(1)
    .max(longest)
    .regex(/^[^\0\p{Cs}]*$/u, 'NUL characters and broken Unicode are not allowed')
}

export const email = line(254)
  .pipe(z.email())
  .meta({ examples: ['ada@example.com'] })

/** Money in minor units (cents), so that it is exact: a whole number up to the largest that JSON keeps exact. */
export const money = z
  .int()
  .min(0)
  .meta({ examples: [480] })

/** Money of a transfer. */
export const amount = z
  .int()
  .min(1)
  .meta({ examples: [2500] })

/** Makes the schema of a change, which refuses one without any field as a client's mistake. */
export function atLeastOne<S extends z.ZodRawShape>(shape: S): z.ZodObject<S, z.core.$strict> {
  return z
    .strictObject(shape)
    .refine((changes) => Object.keys(changes).length > 0, 'Give at least one field to change')
}
