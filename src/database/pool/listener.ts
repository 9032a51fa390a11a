/** Listens to channels on a connection beside the pool, which is opened again whenever it is lost. */
import { setTimeout as pause } from 'node:timers/promises'
import { ConfigurationError, ConnectionError, type DatabaseError } from '../errors'
import { Limits } from '../context/limits'
import { outsideOfScopes } from '../context/scope'
import { LONGEST_TIMER_MILLIS, startWatchdog } from '../context/timers'
import type { ConnectFailure } from '../driver/dialect'
import type { Notifications, Session } from '../driver/session'
import { backOffMillis } from './opener'
import type { PoolCore } from './pool-context'

/** How long the server may take to answer before the connection is given up. */
const ANSWER_TIMEOUT_MILLIS = 2000

/** One call of listen(). */
interface Subscription {
  readonly channel: string
  readonly handler: (payload: string) => unknown
  readonly onReconnect: (() => unknown) | undefined
  /** `waiting` for the first time, or `lost` together with the connection. */
  state: 'waiting' | 'listening' | 'lost'
  /** Settles the call. */
  settle(error?: DatabaseError): void
}

export class Listener {
  readonly #pool: PoolCore
  readonly #subscriptions = new Set<Subscription>()
  #session: Session | null = null
  /** What the session listens to. */
  readonly #channels = new Set<string>()
  #keepalive: NodeJS.Timeout | undefined
  #isPingDue = false
  /** Since a channel was last taken up. */
  #failures = 0
  #lastFailure: DatabaseError | undefined
  /** Takes the session to where the subscriptions want it; null while nothing is to be done. */
  #working: Promise<void> | null = null
  /** Aborts the attempt to connect that is under way, or the pause before the next one. */
  #abort = new AbortController()

  constructor(pool: PoolCore) {
    this.#pool = pool
  }

  /**
   * Resolves when the server has taken the channel up.
   *
   * @throws ConfigurationError where there are no such channels
   * @throws ConnectionError when the server cannot be reached within the acquire timeout, or refuses
   * @throws NotConnectedError when the pool is closing
   */
  async listen(
    channel: string,
    handler: Subscription['handler'],
    onReconnect: Subscription['onReconnect'],
  ): Promise<AsyncDisposable> {
    this.#pool.refuseWhenClosing()
    // Refuses a wrong name.
    this.#notifications.listen(channel)
    const subscription: Subscription = {
      channel,
      handler,
      onReconnect,
      state: 'waiting',
      settle: () => undefined,
    }
    const started = new Promise<void>((resolve, reject) => {
      subscription.settle = (error) => {
        if (error === undefined) resolve()
        else reject(error)
      }
    })
    const stopWatching = this.#watchLimits(subscription)
    this.#subscriptions.add(subscription)
    this.#work()
    try {
      await started
    } catch (error) {
      await this.#remove(subscription)
      throw error
    } finally {
      stopWatching()
    }
    return { [Symbol.asyncDispose]: () => this.#remove(subscription) }
  }

  /** Closes the connection. Only called when the pool is closed, so that nobody listens any more. */
  async close(): Promise<void> {
    this.#callOff()
    this.#work()
    await this.#working
  }

  /** Asks the server at once whether the connection is still there. */
  check(): void {
    this.#isPingDue = true
    this.#work()
  }

  get #notifications(): Notifications {
    const { name, notifications } = this.#pool.context.dialect
    if (notifications !== null) return notifications
    throw new ConfigurationError(
      `listen() needs LISTEN and NOTIFY, which ${name} does not have. Use PostgreSQL; or, within one process, an ` +
        'EventEmitter of your own, which emits in tx.afterCommit().',
    )
  }

  /** Rejects the call when its limits or the acquire timeout run out, or when the pool closes. */
  #watchLimits(subscription: Subscription): () => void {
    const { closed, context } = this.#pool
    const { acquireTimeoutMillis } = context.settings.pool
    const limits = Limits.of(undefined, 'LISTEN')
      .within(acquireTimeoutMillis, () => this.#timeoutError(acquireTimeoutMillis))
      .and(Limits.until(closed))
    limits.check()
    return limits.watch((expiry) => {
      subscription.settle(closed.aborted ? (closed.reason as DatabaseError) : limits.error(expiry))
    })
  }

  #timeoutError(millis: number): DatabaseError {
    const message = `Database '${this.#pool.context.name}' gave no connection to listen on within ${millis} ms.`
    return this.#lastFailure ?? new ConnectionError(`${message} Check its address and that it is running.`)
  }

  async #remove(subscription: Subscription): Promise<void> {
    this.#subscriptions.delete(subscription)
    if (this.#subscriptions.size === 0) this.#callOff()
    this.#work()
    // The others' connection may be long in coming back.
    if (this.#subscriptions.size === 0) await this.#working
  }

  #callOff(): void {
    this.#abort.abort()
    this.#abort = new AbortController()
  }

  /** Starts what is to be done, outside of the caller's scope: the connection outlives it. */
  #work(): void {
    if (this.#working === null && this.#nextStep() !== null)
      this.#working = outsideOfScopes(() => this.#takeSteps())
  }

  async #takeSteps(): Promise<void> {
    for (let step = this.#nextStep(); step !== null; step = this.#nextStep()) await step()
    // In the same tick as the last look at what is to be done, so that nothing later is missed.
    this.#working = null
  }

  #nextStep(): (() => Promise<void>) | null {
    const session = this.#session
    if (this.#subscriptions.size === 0 || this.#pool.closed.aborted)
      return session && (() => this.#closeSession(session))
    if (session === null) return () => this.#connect()
    for (const { channel, state } of this.#subscriptions)
      if (state !== 'listening') return () => this.#startChannel(session, channel)
    const wanted = new Set([...this.#subscriptions].map(({ channel }) => channel))
    for (const channel of this.#channels)
      if (!wanted.has(channel)) return () => this.#endChannel(session, channel)
    return this.#isPingDue ? () => this.#ping(session) : null
  }

  async #connect(): Promise<void> {
    const { context } = this.#pool
    const { acquireTimeoutMillis, keepaliveMillis } = context.settings.pool
    const { signal } = this.#abort
    let isLate = false
    const stop = startWatchdog(Math.min(acquireTimeoutMillis, LONGEST_TIMER_MILLIS), () => {
      isLate = true
      this.#callOff()
    })
    try {
      this.#session = await context.open(signal)
    } catch (cause) {
      if (!signal.aborted || isLate) await this.#fail(context.translateConnect(cause))
      return
    } finally {
      stop()
    }
    this.#attend(this.#session)
    if (keepaliveMillis === 0) return
    // The connection keeps the process alive, and need not be helped.
    this.#keepalive = setInterval(
      () => {
        this.check()
      },
      Math.min(keepaliveMillis, LONGEST_TIMER_MILLIS),
    ).unref()
  }

  #attend(session: Session): void {
    this.#isPingDue = false
    session.onLost(() => {
      this.#lose(session)
    })
    this.#notifications.watch(session, (channel, payload) => {
      this.#deliver(channel, payload)
    })
  }

  async #startChannel(session: Session, channel: string): Promise<void> {
    if (!this.#channels.has(channel)) {
      const isTaken = await this.#run(session, () => session.run(this.#notifications.listen(channel)))
      if (!isTaken) return
      this.#channels.add(channel)
    }
    this.#failures = 0
    this.#lastFailure = undefined
    for (const subscription of this.#subscriptions) {
      if (subscription.channel !== channel) continue
      if (subscription.state === 'lost') this.#call(subscription, () => subscription.onReconnect?.())
      subscription.state = 'listening'
      subscription.settle()
    }
  }

  async #endChannel(session: Session, channel: string): Promise<void> {
    this.#channels.delete(channel)
    await this.#run(session, () => session.run(this.#notifications.unlisten(channel)))
  }

  async #ping(session: Session): Promise<void> {
    this.#isPingDue = false
    await this.#run(session, () => session.ping())
  }

  /** Runs a statement, and returns whether it succeeded. A half-open connection gives no answer, and is destroyed. */
  async #run(session: Session, work: () => Promise<unknown>): Promise<boolean> {
    const stop = startWatchdog(ANSWER_TIMEOUT_MILLIS, () => {
      session.destroy()
    })
    try {
      await work()
      return session === this.#session
    } catch (cause) {
      const isTransient = session.broken !== null
      if (isTransient) this.#lose(session)
      await this.#fail({ error: this.#pool.context.dialect.translate(cause, 'LISTEN'), isTransient })
      return false
    } finally {
      stop()
    }
  }

  async #closeSession(session: Session): Promise<void> {
    this.#forget()
    await session.close()
  }

  #forget(): void {
    this.#session = null
    this.#channels.clear()
    clearInterval(this.#keepalive)
  }

  #lose(session: Session): void {
    if (session !== this.#session) return
    this.#forget()
    for (const subscription of this.#subscriptions)
      if (subscription.state === 'listening') subscription.state = 'lost'
    // When one connection is lost, those of the pool may be lost too.
    this.#pool.suspectAll()
    this.#work()
  }

  /** Waits until it is time to try again. Those who call for the first time are refused what no retry mends. */
  async #fail({ error, isTransient }: ConnectFailure): Promise<void> {
    if (this.#subscriptions.size === 0 || this.#pool.closed.aborted) return
    this.#failures += 1
    this.#lastFailure = error
    this.#pool.context.events.tell('connectRetry', { attempt: this.#failures, error })
    if (!isTransient)
      for (const subscription of this.#subscriptions)
        if (subscription.state === 'waiting') subscription.settle(error)
    await pause(backOffMillis(this.#failures), undefined, { signal: this.#abort.signal }).catch(
      () => undefined,
    )
  }

  #deliver(channel: string, payload: string): void {
    for (const subscription of this.#subscriptions)
      if (subscription.channel === channel) this.#call(subscription, () => subscription.handler(payload))
  }

  /** Calls back in a tick of its own: an error is uncaught, and keeps no other handler from being called. */
  #call(subscription: Subscription, callback: () => unknown): void {
    process.nextTick(() => {
      // Whatever a handler asks while the database disconnects would be refused.
      if (this.#subscriptions.has(subscription) && !this.#pool.closed.aborted) outsideOfScopes(callback)
    })
  }
}
