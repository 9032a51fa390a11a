/** Collects the spans that are made in a test. */
import { context, type Span, trace, type TracerProvider } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { BasicTracerProvider, type ReadableSpan } from '@opentelemetry/sdk-trace-base'

export class Spans {
  readonly provider: TracerProvider
  /** In the order in which they were started: their times are of milliseconds. */
  #started: ReadableSpan[] = []

  constructor() {
    const processor = {
      onStart: (span: unknown) => void this.#started.push(span as ReadableSpan),
      onEnd: () => undefined,
      forceFlush: () => Promise.resolve(),
      shutdown: () => Promise.resolve(),
    }
    this.provider = new BasicTracerProvider({ spanProcessors: [processor] })
    context.disable()
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  }

  /** Runs work in a span of that name, and returns what comes of it. */
  async within<T>(name: string, work: () => Promise<T>): Promise<T> {
    const span: Span = this.provider.getTracer('test').startSpan(name)
    try {
      return await context.with(trace.setSpan(context.active(), span), work)
    } finally {
      span.end()
    }
  }

  /** Returns the spans that have ended, and forgets them. */
  take(): readonly ReadableSpan[] {
    const started = this.#started
    this.#started = started.filter(({ ended }) => !ended)
    return started.filter(({ ended }) => ended)
  }

  /** Returns the names of the spans that have ended, each indented under its parent, and forgets them. */
  outline(): readonly string[] {
    return outlineOf(this.take())
  }
}

export function outlineOf(spans: readonly ReadableSpan[], parent?: string, indent = ''): readonly string[] {
  const ids = new Set(spans.map((span) => span.spanContext().spanId))
  const isRoot = ({ parentSpanContext: own }: ReadableSpan): boolean =>
    own === undefined || !ids.has(own.spanId)
  return spans
    .filter((span) => (parent === undefined ? isRoot(span) : span.parentSpanContext?.spanId === parent))
    .flatMap((span) => [indent + span.name, ...outlineOf(spans, span.spanContext().spanId, `${indent}  `)])
}
