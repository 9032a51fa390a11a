/** The library's only door: every public name, in reading order. */
export { Database } from './database'
export type { DatabaseOptions } from './database'
export { DatabaseURL, type URLParts } from './url'
export type { PoolOptions } from './options'
export type {
  Connection,
  ExecuteResult,
  Queryable,
  QueryOptions,
  SchemaOption,
  Transaction,
  TransactionOptions,
} from './query/queryable'
export type { WholeRows } from './query/inferred-rows'
export type { Query, Values } from './sql/sql-tag'
export type { IsolationLevel, Security } from './driver/dialect'
export type { Row } from './driver/statement'
export type { PoolStats } from './pool/pool-context'
export { json, sql, type JsonValue, type SqlQuery, type TypedSqlQuery } from './sql/sql-tag'
export type { StandardSchema } from './sql/standard-schema'
export { keyset, type KeysetOptions, type KeysetPage } from './keyset'
export { currentFrame, Frame, runInScope, type Scope, type Tally } from './context/scope'
export { type Cancellation, Canceller } from './context/canceller'
export type {
  AcquireEvent,
  CleanupEvent,
  ConnectRetryEvent,
  CreateEvent,
  DatabaseEvents,
  LeakEvent,
  QueryEvent,
  ReleaseEvent,
  RetireEvent,
  TimeoutEvent,
} from './events'
export { type Meter, recordMetrics } from './metrics'
export { type TraceOptions, traceQueries, type TracerProvider } from './tracing'
export { logQueries, type QueryLogOptions } from './query-log'
export type {
  Observation,
  ObservedTransaction,
  Observer,
  StartedStatement,
  StatementEnd,
  TransactionEnd,
} from './observer'
export { fingerprintOf, operationOf } from './sql/fingerprint'
export { knexConfig } from './create-backend'
export {
  BindError,
  CheckViolationError,
  CommitUnknownError,
  ConfigurationError,
  ConnectionError,
  ConstraintViolationError,
  CursorError,
  DatabaseError,
  databaseErrorOf,
  ForeignKeyViolationError,
  type Holder,
  NotConnectedError,
  NotNullViolationError,
  PoolTimeoutError,
  QueryCanceledError,
  QueryError,
  QueryTimeoutError,
  RowError,
  SerializationError,
  TransactionClosedError,
  TransactionError,
  UndefinedNameError,
  UniqueViolationError,
  type Violation,
} from './errors'
