/**
 * The Node environment. It fails a test file that leaves open handles, which keep its worker from ending: jest itself
 * would only report that some worker did not end.
 *
 * There is one copy of @appthreat/sqlite3 for all test files of a worker. The package wraps the methods of its addon when it
 * is loaded; loaded for each file, as jest loads modules, it would wrap them again, and its calls without a callback
 * would make promises that nobody handles.
 */
const { TestEnvironment } = require('jest-environment-node')

/** By Node's names. Pipes are what the worker itself speaks through. */
const LASTING = new Set(['ProcessWrap', 'TCPServerWrap', 'TCPSocketWrap', 'Timeout'])
/** Closing a handle may take a while on a busy machine. */
const PATIENCE_MILLIS = 10_000

function lasting() {
  return process.getActiveResourcesInfo().filter((name) => LASTING.has(name))
}

module.exports = class extends TestEnvironment {
  async setup() {
    await super.setup()
    this.global.loadAppthreat = () => require('@appthreat/sqlite3')
  }

  async teardown() {
    await super.teardown()
    // Without workers, jest's own handles would be found as well.
    if (process.send === undefined) return
    const deadline = performance.now() + PATIENCE_MILLIS
    let left = lasting()
    while (left.length > 0 && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 20))
      left = lasting()
    }
    if (left.length > 0)
      throw new Error(`This file left behind what may keep its worker from ending: ${left.join(', ')}`)
  }
}
