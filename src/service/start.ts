/** The program of `npm start`: starts the service from its bundle, or from its files if there is none. */
import { BUNDLE, read, run } from './bundle-loader'

const script = read()
if (script === null) {
  process.stderr.write(
    `millpond: ${BUNDLE} is missing or damaged. The service starts from the files that it is made of, which takes longer; ` +
      '`npm run build` makes it anew.\n',
  )
  // oxlint-disable-next-line import/no-unassigned-import -- it starts the service by being loaded
  require('./main')
} else run(script)
