/** Stands for @appthreat/sqlite3 in tests: the copy that is loaded once, by environment.cjs. */
module.exports = globalThis.loadAppthreat()
