/** What `npm start` runs: the service out of one file. */
import { read, run } from './bundled'

run(read())
