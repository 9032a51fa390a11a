/** pg as most people use it: text and values. */
import { openPool } from './pg-pool'
import type { OpenStore } from './store'

export const open: OpenStore = (url) => openPool(url, { isNamed: false })
