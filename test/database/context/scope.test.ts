/** Scopes: the label, signal, deadline and bindings that an async context carries. */
import { ConfigurationError, type Database, runInScope } from '../../../src/database'
import { Limits } from '../../../src/database/context/limits'
import {
  boundTo,
  currentScope,
  outsideOfScopes,
  runBound,
  runDetached,
} from '../../../src/database/context/scope'
import { eachDatabase } from '../../support/each-database'

describe('a scope', () => {
  it('reaches every async descendant, and nothing outside', async () => {
    const label = await runInScope({ label: 'nightly' }, async () => {
      await new Promise(setImmediate)
      return currentScope()?.label
    })
    expect(label).toBe('nightly')
    expect(currentScope()).toBeUndefined()
  })

  it('is not shared by siblings', async () => {
    const labels = await Promise.all(
      ['a', 'b', 'c'].map((label) =>
        runInScope({ label }, async () => {
          await new Promise(setImmediate)
          return currentScope()?.label
        }),
      ),
    )
    expect(labels).toEqual(['a', 'b', 'c'])
  })

  it('inherits what it leaves out', () => {
    const { signal } = new AbortController()
    runInScope({ label: 'outer', signal, deadline: 100 }, () => {
      runInScope({ label: 'inner' }, () => {
        const { label, signals, deadline } = currentScope() ?? {}
        expect({ label, signals, deadline }).toEqual({ label: 'inner', signals: [signal], deadline: 100 })
      })
    })
  })

  it('cannot extend the deadline of the scope around it', () => {
    runInScope({ deadline: 100 }, () => {
      expect(runInScope({ deadline: 200 }, () => currentScope()?.deadline)).toBe(100)
      expect(runInScope({ deadline: 50 }, () => currentScope()?.deadline)).toBe(50)
    })
  })

  it('is aborted by its own signal and by that of the scope around it', () => {
    const outer = new AbortController()
    const isAborted = (signals: readonly { readonly aborted: boolean }[] = []) =>
      signals.some(({ aborted }) => aborted)
    runInScope({ signal: outer.signal }, () => {
      const first = new AbortController()
      const second = runInScope({ signal: first.signal }, () => currentScope()?.signals)
      const third = runInScope({ signal: new AbortController().signal }, () => currentScope()?.signals)
      first.abort()
      expect([isAborted(second), isAborted(third), outer.signal.aborted]).toEqual([true, false, false])
      outer.abort()
      expect(isAborted(third)).toBe(true)
    })
  })

  it('reads its label lazily, since a route is known later than its request', () => {
    const request = { route: 'unknown' }
    const scope = {
      get label() {
        return request.route
      },
    }
    runInScope(scope, () => {
      runInScope({}, () => {
        request.route = 'GET /users'
        expect(currentScope()?.label).toBe('GET /users')
      })
    })
  })

  it('returns the result of the work, and throws its error', () => {
    expect(runInScope({}, () => 5)).toBe(5)
    expect(() =>
      runInScope({}, () => {
        throw new Error('out')
      }),
    ).toThrow('out')
  })
})

describe('a binding', () => {
  it('is found under its own key only', () => {
    const [first, second] = [{}, {}]
    runBound(first, 'one', () => {
      expect([boundTo(first), boundTo(second)]).toEqual(['one', undefined])
      runBound(second, 'two', () => {
        expect([boundTo(first), boundTo(second)]).toEqual(['one', 'two'])
      })
    })
    expect(boundTo(first)).toBeUndefined()
  })

  it('is found in a scope that is opened inside', () => {
    const key = {}
    runBound(key, 'one', () => {
      expect(runInScope({ label: 'x' }, () => boundTo(key))).toBe('one')
    })
  })

  it('is hidden from detached work, which keeps the label and other bindings', () => {
    const [key, other] = [{}, {}]
    const { signal } = new AbortController()
    runInScope({ label: 'request', signal, deadline: 5 }, () => {
      runBound(other, 'other', () => {
        runBound(key, 'one', () => {
          runDetached(key, () => {
            expect([boundTo(key), boundTo(other)]).toEqual([undefined, 'other'])
            expect(currentScope()?.label).toBe('request')
            expect([currentScope()?.signals, currentScope()?.deadline]).toEqual([[], undefined])
          })
        })
      })
    })
  })

  it('is hidden outside of scopes', () => {
    const key = {}
    runBound(key, 'one', () => {
      expect(outsideOfScopes(() => [boundTo(key), currentScope()])).toEqual([undefined, undefined])
    })
  })
})

describe('runInScope', () => {
  it('refuses unknown and invalid properties', () => {
    const wrong: [unknown, RegExp][] = [
      [{ deadline: Number.NaN }, /deadline .* got NaN/],
      [{ deadline: '5' }, /deadline .* got '5'/],
      [{ deadline: new Date() }, /deadline .* performance\.now\(\)/],
      [{ timeoutMillis: 5 }, /no 'timeoutMillis'.*label, signal, deadline/],
      [null, /scope is an object, got null/],
    ]
    for (const [scope, message] of wrong) {
      const run = (): unknown => runInScope(scope as never, () => 'ran')
      expect(run).toThrow(ConfigurationError)
      expect(run).toThrow(message)
    }
    const scope = { signal: {} } as never // Asked for late, since making one costs something.
    expect(() => runInScope(scope, () => Limits.of(undefined, ''))).toThrow(
      new ConfigurationError('signal is an AbortSignal, got {}.'),
    )
    expect(runInScope({ deadline: Infinity, signal: undefined, label: undefined }, () => 'ran')).toBe('ran')
  })
})

eachDatabase('detached work', (context) => {
  let database: Database

  beforeEach(async () => {
    database = await context.open()
  })

  it('can run queries after it has detached itself ten thousand times', async () => {
    let value: unknown
    await new Promise<void>((resolve, reject) => {
      const job = (left: number): void => {
        database.detached(() => {
          if (left > 0) setImmediate(job, left - 1)
          else database.fetchVal('select 1').then((found) => resolve(void (value = found)), reject)
        })
      }
      job(10_000)
    })
    expect(value).toBe(1)
  })
})
