/** Runs listeners of a request in the scope in which they were added, as callbacks of timers and promises run. */
import type { EventEmitter } from 'node:events'
import { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Writable } from 'node:stream'
import type { Request, Response } from 'express'
import { currentFrame, Frame } from '../database'

type Event = string | symbol
type Listener = (this: unknown, ...args: unknown[]) => unknown

/**
 * Has listeners of the request, its response and its socket called in the scope in which they are added, from now on. Node
 * calls them in the scope that emits the event, mostly the connection's, which belongs to no request: a body parser that
 * calls `next()` from an event would leave the transaction around it.
 *
 * A listener for the end of a request, such as an audit log on `finish`, is called when the transaction may have ended: it
 * keeps the label, but runs without the transaction, the signal and the deadline. The same holds for listeners that were
 * added before the request had a scope.
 */
export function keepScope(request: Request, response: Response): void {
  // Several middlewares of one request may call this.
  if (LISTENER_SCOPES in request) return
  const { socket } = request
  const scopes = new ListenerScopes(currentFrame(), response, socket)
  replaceMethods(request, prototypeBelowNode(request, IncomingMessage.prototype), scopes)
  replaceMethods(response, prototypeBelowNode(response, ServerResponse.prototype), scopes)
  // A connection serves many requests, so its own scope is outside of all of them.
  if (!(LISTENER_SCOPES in socket))
    replaceMethods(socket, socket, new ListenerScopes(Frame.outside, socket, socket))
}

const LISTENER_SCOPES = Symbol('millpond.listenerScopes')

/** Events of the end of a request, if its answer is complete: a request also emits `close` when its body has been read. */
const END_EVENTS: ReadonlySet<Event> = new Set(['finish', 'close', 'aborted', 'error'])

/** Decides in which scopes the listeners of one emitter are called. */
class ListenerScopes {
  readonly #ownFrame: Frame
  readonly #answer: Pick<Writable, 'writableEnded'>
  readonly #socket: Socket

  constructor(ownFrame: Frame, answer: Pick<Writable, 'writableEnded'>, socket: Socket) {
    this.#ownFrame = ownFrame
    this.#answer = answer
    this.#socket = socket
  }

  /** Returns the scope for listeners that were added in the emitter's own scope, or before it had one. */
  scopeOf(event: Event): Frame {
    return this.#frameFor(this.#ownFrame, event)
  }

  /**
   * Wraps a listener so that it is called in the present scope. `isEmittedThere`: the event is emitted in {@link scopeOf}, so
   * that a listener from that scope is returned as it is.
   */
  inScope(event: Event, listener: Listener, isEmittedThere: boolean): Listener {
    const frame = currentFrame()
    if (typeof listener !== 'function' || SCOPED in listener || (isEmittedThere && frame === this.#ownFrame))
      return listener
    const at = this.#frameFor.bind(this)
    return scoped(listener, function (...args) {
      return at(frame, event).run(() => listener.apply(this, args))
    })
  }

  #frameFor(frame: Frame, event: Event): Frame {
    const isOver = END_EVENTS.has(event) && (this.#answer.writableEnded || this.#socket.destroyed)
    return isOver ? frame.ended(this.#ownFrame) : frame
  }
}

type Emitter = EventEmitter & { [LISTENER_SCOPES]?: ListenerScopes }
type Add = (this: EventEmitter, event: Event, listener: Listener) => EventEmitter

/** The methods of an emitter that are replaced. */
interface Methods {
  readonly emit: (this: EventEmitter, event: Event, ...args: unknown[]) => boolean
  readonly end?: (this: EventEmitter, ...args: unknown[]) => unknown
  readonly on: Add
  readonly once: Add
  readonly prependListener: Add
  readonly prependOnceListener: Add
}

/**
 * Replaces the methods once, on the prototype that Express gives to all requests or responses: methods on each object would
 * make every request slower, and a sub-application changes only the prototypes below that one.
 */
function replaceMethods(emitter: Emitter, prototype: EventEmitter, scopes: ListenerScopes): void {
  emitter[LISTENER_SCOPES] = scopes
  if (Object.hasOwn(prototype, HAS_METHODS)) return
  // A handler may cause the events of a response's or socket's end, in a transaction that is over; never those of a request.
  const emittedInScope = emitter instanceof IncomingMessage ? NO_EVENTS : END_EVENTS
  const { emit, end, on, once, prependListener, prependOnceListener } = prototype as Methods
  const addInScope = (add: Add) =>
    function (this: Emitter, event: Event, listener: Listener): EventEmitter {
      return add.call(
        this,
        event,
        this[LISTENER_SCOPES]?.inScope(event, listener, emittedInScope.has(event)) ?? listener,
      )
    }
  const addOnceInScope = (name: 'on' | 'prependListener', addOnce: Add) =>
    function (this: Emitter, event: Event, listener: Listener): EventEmitter {
      const inScope = this[LISTENER_SCOPES]?.inScope(event, listener, emittedInScope.has(event)) ?? listener
      if (inScope === listener) return addOnce.call(this, event, listener)
      // Calls the public method, as Node's own `once` does: it may have been replaced.
      return this[name](event, onlyOnce(this, event, inScope, listener))
    }
  const emitInScope = function (this: Emitter, event: Event, ...args: unknown[]): boolean {
    const scope = emittedInScope.has(event) ? this[LISTENER_SCOPES]?.scopeOf(event) : undefined
    if (scope === undefined) return emit.call(this, event, ...args)
    return scope.run(() => emit.call(this, event, ...args))
  }
  // The callback of `end` is a listener of `finish`, which Node 24 and later do not add by `once`.
  const endInScope = function (this: Emitter, ...args: unknown[]): unknown {
    const at = args.findLastIndex((arg) => typeof arg === 'function')
    const called = this[LISTENER_SCOPES]?.inScope('finish', args[at] as Listener, false)
    return end?.apply(this, called === undefined ? args : args.with(at, called))
  }
  Object.assign(prototype, {
    [HAS_METHODS]: true,
    on: addInScope(on),
    addListener: addInScope(on),
    once: addOnceInScope('on', once),
    prependListener: addInScope(prependListener),
    prependOnceListener: addOnceInScope('prependListener', prependOnceListener),
    ...(emittedInScope !== NO_EVENTS && { emit: emitInScope }),
    ...(emitter instanceof ServerResponse && { end: endInScope }),
  })
}

function onlyOnce(emitter: EventEmitter, event: Event, inScope: Listener, listener: Listener): Listener {
  let isCalled = false
  const once = scoped(listener, function (...args) {
    if (isCalled) return undefined
    isCalled = true
    emitter.removeListener(event, once)
    return inScope.apply(this, args)
  })
  return once
}

const SCOPED = Symbol('millpond.scoped')

/** Marks a wrapped listener. Node looks for the original in the property `listener`, to remove it and to list it. */
function scoped(listener: Listener, wrapped: Listener & { listener?: Listener; [SCOPED]?: true }): Listener {
  wrapped.listener = listener
  wrapped[SCOPED] = true
  return wrapped
}

const NO_EVENTS: ReadonlySet<Event> = new Set()
const HAS_METHODS = Symbol('millpond.hasMethods')

/** Returns the prototype that is directly below Node's own; the object itself if there is none. */
function prototypeBelowNode(object: EventEmitter, nodePrototype: EventEmitter): EventEmitter {
  let prototype = object
  // An object that a test has made may not inherit from Node's prototype.
  if (!Object.prototype.isPrototypeOf.call(nodePrototype, object)) return prototype
  for (let next = prototype; next !== nodePrototype; next = Object.getPrototypeOf(next) as EventEmitter)
    prototype = next
  return prototype
}
