/** The error handler for tables that are not there yet: an answer that says so, instead of a failure. */
import type { ErrorRequestHandler } from 'express'
import { databaseErrorOf, UndefinedNameError } from '../database'
import { HttpProblem } from '../express'

/** How soon a client may try again: a migration takes its time. */
const RETRY_AFTER_SECONDS = '10'

/**
 * Answers 503 for a table or a column that a database lacks. Here that is never a misspelt name, which the compiler would
 * have refused: every table is one that the migrations make. Mount it before `problems()`, which answers 500, because it
 * knows nothing of an application's tables.
 */
export const missingTables: ErrorRequestHandler = (error: unknown, _request, _response, next) => {
  if (!(databaseErrorOf(error) instanceof UndefinedNameError)) {
    next(error)
    return
  }
  next(
    new HttpProblem(
      503,
      'The tables of this release are not there: its migrations have not been run. Try again later.',
      { cause: error, headers: { 'Retry-After': RETRY_AFTER_SECONDS } },
    ),
  )
}
