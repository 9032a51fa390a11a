/** pg with named statements. */
import { openPool } from './pg-pool'
import type { OpenStore } from './store'

export const open: OpenStore = (url) => openPool(url, { isNamed: true })
