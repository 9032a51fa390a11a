/** Has the listeners of a request run in the scope in which they were added, as callbacks of timers and promises do. */
import type { EventEmitter } from 'node:events'
import { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Writable } from 'node:stream'
import type { Request, Response } from 'express'
import { currentFrame, Frame } from '../database'

type Event = string | symbol
type Listener = (this: unknown, ...args: unknown[]) => unknown

/**
 * From now on a listener of the request, its response or its socket is called in the scope in which it is added. Node
 * calls it in that of whoever makes the event happen. That is mostly the connection's, which knows no request, so that a
 * body parser that calls `next()` from an event would leave the transaction around it.
 *
 * What is told of the end of a request, such as an audit log that listens to `finish`, is called when its transaction may
 * have ended, and its signal and deadline have done their work: it keeps the label, and is free of these. So is what
 * was added before the request had a scope.
 */
export function keepScope(request: Request, response: Response): void {
  // A request may pass several that ask for this.
  if (KEPT in request) return
  const { socket } = request
  const kept = new Kept(currentFrame(), response, socket)
  keep(request, prototypeAbove(request, IncomingMessage.prototype), kept)
  keep(response, prototypeAbove(response, ServerResponse.prototype), kept)
  // A connection serves many requests, and belongs to none of them.
  if (!(KEPT in socket)) keep(socket, socket, new Kept(Frame.outside, socket, socket))
}

const KEPT = Symbol('millpond.kept')

/** Events that tell of the end, if it has come: a request is also closed when its body has been read. */
const ENDINGS: ReadonlySet<Event> = new Set(['finish', 'close', 'aborted', 'error'])

/** In which scopes the listeners of an emitter are called. */
class Kept {
  readonly #own: Frame
  readonly #answer: Pick<Writable, 'writableEnded'>
  readonly #socket: Socket

  constructor(own: Frame, answer: Pick<Writable, 'writableEnded'>, socket: Socket) {
    this.#own = own
    this.#answer = answer
    this.#socket = socket
  }

  /** Where the listeners are called that were added in its own scope, or before it had one. */
  scopeOf(event: Event): Frame {
    return this.#at(this.#own, event)
  }

  /** `isEmittedThere`: the event is emitted in {@link scopeOf}, so that a listener from there need not be wrapped. */
  inScope(event: Event, listener: Listener, isEmittedThere: boolean): Listener {
    const frame = currentFrame()
    if (typeof listener !== 'function' || SCOPED in listener || (isEmittedThere && frame === this.#own))
      return listener
    const at = this.#at.bind(this)
    return scoped(listener, function (...args) {
      return at(frame, event).run(() => listener.apply(this, args))
    })
  }

  #at(frame: Frame, event: Event): Frame {
    const isOver = ENDINGS.has(event) && (this.#answer.writableEnded || this.#socket.destroyed)
    return isOver ? frame.ended(this.#own) : frame
  }
}

type Emitter = EventEmitter & { [KEPT]?: Kept }
type Add = (this: EventEmitter, event: Event, listener: Listener) => EventEmitter

/** The methods of an EventEmitter that are replaced. */
interface Methods {
  readonly emit: (this: EventEmitter, event: Event, ...args: unknown[]) => boolean
  readonly end?: (this: EventEmitter, ...args: unknown[]) => unknown
  readonly on: Add
  readonly once: Add
  readonly prependListener: Add
  readonly prependOnceListener: Add
}

/**
 * The methods are put on the prototype that Express gives to all of its requests, or responses: a sub-application changes
 * the prototypes in between, and methods of its own would make every request slower.
 */
function keep(emitter: Emitter, home: EventEmitter, kept: Kept): void {
  emitter[KEPT] = kept
  if (Object.hasOwn(home, HAS_METHODS)) return
  // What tells of a request's end does not come from a handler, whose transaction may be over.
  const emitted = emitter instanceof IncomingMessage ? NONE : ENDINGS
  const { emit, end, on, once, prependListener, prependOnceListener } = home as Methods
  const adding = (add: Add) =>
    function (this: Emitter, event: Event, listener: Listener): EventEmitter {
      return add.call(this, event, this[KEPT]?.inScope(event, listener, emitted.has(event)) ?? listener)
    }
  const addingOnce = (name: 'on' | 'prependListener', addOnce: Add) =>
    function (this: Emitter, event: Event, listener: Listener): EventEmitter {
      const inScope = this[KEPT]?.inScope(event, listener, emitted.has(event)) ?? listener
      if (inScope === listener) return addOnce.call(this, event, listener)
      // As Node's own does it: somebody may have replaced that method.
      return this[name](event, onlyOnce(this, event, inScope, listener))
    }
  const emitting = function (this: Emitter, event: Event, ...args: unknown[]): boolean {
    const scope = emitted.has(event) ? this[KEPT]?.scopeOf(event) : undefined
    if (scope === undefined) return emit.call(this, event, ...args)
    return scope.run(() => emit.call(this, event, ...args))
  }
  // Its callback is a listener of `finish`, which from Node 24 on is not added like the others.
  const ending = function (this: Emitter, ...args: unknown[]): unknown {
    const at = args.findLastIndex((arg) => typeof arg === 'function')
    const called = this[KEPT]?.inScope('finish', args[at] as Listener, false)
    return end?.apply(this, called === undefined ? args : args.with(at, called))
  }
  Object.assign(home, {
    [HAS_METHODS]: true,
    on: adding(on),
    addListener: adding(on),
    once: addingOnce('on', once),
    prependListener: adding(prependListener),
    prependOnceListener: addingOnce('prependListener', prependOnceListener),
    ...(emitted !== NONE && { emit: emitting }),
    ...(emitter instanceof ServerResponse && { end: ending }),
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

/** Marks a listener that was wrapped. By the name `listener` Node finds the one in it, to remove it and to list it. */
function scoped(listener: Listener, wrapped: Listener & { listener?: Listener; [SCOPED]?: true }): Listener {
  wrapped.listener = listener
  wrapped[SCOPED] = true
  return wrapped
}

const NONE: ReadonlySet<Event> = new Set()
const HAS_METHODS = Symbol('millpond.hasMethods')

/** What is next to Node's own prototype in the chain; the object itself where Express is not in it. */
function prototypeAbove(object: EventEmitter, nodes: EventEmitter): EventEmitter {
  let home = object
  // One that is made for a test may be none of Node's.
  if (!Object.prototype.isPrototypeOf.call(nodes, object)) return home
  for (let next = home; next !== nodes; next = Object.getPrototypeOf(next) as EventEmitter) home = next
  return home
}
