/** The order of the test files: the longest come first, so that at the end no worker waits for another one's long file. */
const { default: Sequencer } = require('@jest/test-sequencer')
const path = require('node:path')

/** Each takes more than ten seconds; the longest come first. Jest goes by size where it has run no test yet. */
const LONG = [
  'database/transaction/request-isolation',
  'database/query/streaming-memory',
  'service/migrations-killed',
  'service/migrations',
  'service/injection',
  'express/monitor-page',
  'package/works-everywhere',
  'database/pool/suspended-process',
  'service/transfers-killed',
  'service/fuzz',
  'service/rolling-deployment',
  'faults/client-disconnects',
  'database/transaction/savepoints-property',
  'service/process',
  'package/contents',
  'database/transaction/commit-outcome',
  'faults/sqlite-killed',
  'database/pool/growth',
  'express/monitor',
  'database/pool/acquire-queue',
  'faults/terminated',
  'faults/sqlite-processes',
  'database/query/cancelled-connection-reuse',
  'service/model',
]

module.exports = class LongFirst extends Sequencer {
  sort(tests) {
    const rank = ({ path: file }) => {
      const index = LONG.indexOf(path.relative(path.join(__dirname, '..'), file).replace(/\.test\.ts$/, ''))
      return index < 0 ? LONG.length : index
    }
    // oxlint-disable-next-line unicorn/no-array-sort -- it is not an array's
    return super.sort(tests).toSorted((a, b) => rank(a) - rank(b))
  }
}
