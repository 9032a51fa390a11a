/** Reports a Database's statements, transactions and waits for connections to OpenTelemetry, as spans. */
import type * as OpenTelemetry from '@opentelemetry/api'
import type { Attributes, Context, Span, SpanKind, Tracer } from '@opentelemetry/api'
import { codeOf, redactedMessage } from './driver/driver-error'
import { ConfigurationError, databaseErrorOf } from './errors'
import { systemAttributes } from './metrics'
import type { Observation, ObservedTransaction, Observer, StartedStatement } from './observer'
import { checkOptions } from './query/queryable'
import { describeStatement } from './sql/fingerprint'
import type { DatabaseURL } from './url'

/** The part of a Database that is traced. */
interface TracedDatabase {
  readonly name: string
  readonly url: DatabaseURL
  observe(observer: Observer): () => void
}

/** The part of OpenTelemetry's TracerProvider that is used here: a program without OpenTelemetry does not have its types. */
export interface TracerProvider {
  getTracer(name: string): object
}

export interface TraceOptions {
  /** Default: the one that the program has registered, also if it does so later. */
  readonly tracerProvider?: TracerProvider
}

/**
 * Has a span made of each statement, each transaction and each wait for a connection, by OpenTelemetry's conventions for
 * database clients: https://opentelemetry.io/docs/specs/semconv/db/sql/
 *
 * A span is a child of the one that is active when the statement is run, or of its transaction's. It has no values: literals
 * of the text are `?`, and what a message quotes is left out. Spans that an instrumentation of the driver would make of the
 * same statements are suppressed.
 *
 * @returns a function that stops it
 * @throws ConfigurationError without the package @opentelemetry/api
 * @example
 * const stop = traceQueries(database)
 */
export function traceQueries(database: TracedDatabase, options: TraceOptions = {}): () => void {
  const { tracerProvider } = checkOptions(options, ['tracerProvider']) ?? {}
  const api = loadApi()
  const tracer = (tracerProvider ?? api.trace).getTracer('millpond') as Tracer
  return database.observe(new Traces(api, tracer, database))
}

/** @throws ConfigurationError */
function loadApi(): typeof OpenTelemetry {
  try {
    return require('@opentelemetry/api') as typeof OpenTelemetry
  } catch (cause) {
    throw new ConfigurationError(
      'traceQueries() needs @opentelemetry/api: `npm install @opentelemetry/api`.',
      {
        cause,
      },
    )
  }
}

/** The key by which OpenTelemetry's SDK looks whether to make no span, as its `suppressTracing` sets it. Tried with 2.12. */
const SUPPRESS_TRACING = 'OpenTelemetry SDK Context Key SUPPRESS_TRACING'

/** A free connection is lent in less. */
const SHORTEST_WAIT_MILLIS = 1

class Traces implements Observer {
  readonly #api: typeof OpenTelemetry
  readonly #tracer: Tracer
  readonly #system: Attributes
  readonly #pool: Attributes
  readonly #suppressed: symbol
  /** The key of the context that a statement is run in, but for the suppression. */
  readonly #unsuppressed: symbol

  constructor(api: typeof OpenTelemetry, tracer: Tracer, { name, url }: TracedDatabase) {
    this.#api = api
    this.#tracer = tracer
    this.#system = systemAttributes(url)
    this.#pool = { ...this.#system, 'db.client.connection.pool.name': name }
    this.#suppressed = api.createContextKey(SUPPRESS_TRACING)
    this.#unsuppressed = api.createContextKey('millpond: the context of the statement')
  }

  statement(started: StartedStatement): Observation {
    return this.#statementIn(this.#activeContext(), started)
  }

  transaction(): ObservedTransaction {
    const { context, trace, SpanKind } = this.#api
    const outer = this.#activeContext()
    const span = this.#startSpan('transaction', SpanKind.INTERNAL, this.#system, outer)
    return {
      statement: (started) => {
        const active = this.#activeContext()
        // A transaction that was begun by a handle is not active, though its statements are its own.
        const isBeside = trace.getSpan(active) === trace.getSpan(outer)
        return this.#statementIn(isBeside ? trace.setSpan(active, span) : active, started)
      },
      run: async (work) => {
        try {
          return await context.with(trace.setSpan(this.#activeContext(), span), work)
        } catch (error) {
          this.#fail(span, error)
          throw error
        }
      },
      end: (end) => {
        span.setAttribute('millpond.transaction.end', end)
        span.end()
      },
    }
  }

  wait(connection: Promise<unknown>): void {
    const startTime = performance.now()
    const parent = this.#activeContext()
    const settled = (error?: unknown): void => {
      const endTime = performance.now()
      if (error === undefined && endTime - startTime < SHORTEST_WAIT_MILLIS) return
      const options = { kind: this.#api.SpanKind.INTERNAL, attributes: this.#pool, startTime }
      const span = this.#tracer.startSpan('wait for connection', options, parent)
      if (error !== undefined) this.#fail(span, error)
      span.end(endTime)
    }
    connection.then(() => {
      settled()
    }, settled)
  }

  #statementIn(parent: Context, { sql }: StartedStatement): Observation {
    const { context, trace, SpanKind } = this.#api
    const { operation, summary, text } = describeStatement(sql)
    const attributes = {
      ...this.#system,
      'db.operation.name': operation,
      'db.query.summary': summary,
      'db.query.text': text,
    }
    const span = this.#startSpan(summary, SpanKind.CLIENT, attributes, parent)
    const own = trace.setSpan(parent, span)
    const suppressed = own.setValue(this.#suppressed, true).setValue(this.#unsuppressed, own)
    return {
      run: (work) => context.with(suppressed, work),
      end: ({ error, returnedRows }) => {
        if (returnedRows !== undefined) span.setAttribute('db.response.returned_rows', returnedRows)
        if (error !== undefined) this.#fail(span, error)
        span.end()
      },
    }
  }

  #startSpan(name: string, kind: SpanKind, attributes: Attributes, parent: Context): Span {
    return this.#tracer.startSpan(name, { kind, attributes }, parent)
  }

  /** Returns the caller's context. A listener of an event is called within a statement, and what it does is not suppressed. */
  #activeContext(): Context {
    const active = this.#api.context.active()
    return (active.getValue(this.#unsuppressed) as Context | undefined) ?? active
  }

  /** Records an error, without what it quotes. Of an error that is not of this library, only its name is known to be no secret. */
  #fail(span: Span, error: unknown): void {
    const { SpanStatusCode } = this.#api
    const own = databaseErrorOf(error)
    if (own === null) {
      span.setAttribute('error.type', error instanceof Error ? error.name : '_OTHER')
      span.setStatus({ code: SpanStatusCode.ERROR })
      return
    }
    const message = redactedMessage(own)
    const stack = own.stack?.replace(own.message, () => message)
    const status = statusCodeOf(own.cause)
    span.setAttributes({
      'error.type': own.code,
      ...(status !== null && { 'db.response.status_code': status }),
    })
    span.recordException({ name: own.name, message, ...(stack !== undefined && { stack }) })
    span.setStatus({ code: SpanStatusCode.ERROR, message })
  }
}

/** Returns the SQLSTATE or SQLite's code; null for an error that the database did not make, such as a lost connection. */
function statusCodeOf(cause: unknown): string | null {
  const code = codeOf(cause)
  return /^(?:(?=.*\d)[\dA-Z]{5}|SQLITE_\w+)$/.test(code) ? code : null
}
