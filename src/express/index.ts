/** The library in Express: everything that can be mounted, and the server to mount it on. */
export { serve, type Serving, ShutdownError } from './serve'
export type { Logger, ServeOptions } from './serve-options'
export { ListenError } from './listen'
export { requestScope, type RequestScopeOptions, routeOf } from './request'
export { transactionPerRequest } from './transaction-per-request'
export { methodNotAllowed, notFound, problems, type ProblemsOptions } from './problems'
export { type FieldError, HttpProblem, type HttpProblemOptions } from './http-problem'
export { health } from './health'
