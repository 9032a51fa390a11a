/**
 * Node, with one copy of @appthreat/sqlite3 for all test files of a worker. The package wraps the methods of its addon when it
 * is loaded; loaded for each file, as jest loads modules, it would wrap them again, and its calls without a callback
 * would make promises that nobody handles.
 */
const { TestEnvironment } = require('jest-environment-node')

module.exports = class extends TestEnvironment {
  async setup() {
    await super.setup()
    this.global.loadAppthreat = () => require('@appthreat/sqlite3')
  }
}
