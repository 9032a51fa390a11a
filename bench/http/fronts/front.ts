/** What every peer's web framework does: the same endpoints over a store. */
import type { NewPost, Store, Transferred } from '../stores/store'

/** Serves the endpoints on a port of 127.0.0.1. */
export type Listen = (store: Store, port: number) => Promise<void>

/** The body of `POST /transfer`. */
export interface TransferBody {
  readonly from_account: number
  readonly to_account: number
  readonly amount: number
}

export type { NewPost }

export const DEFAULT_LIMIT = 50

export const ANSWERS: Readonly<Record<Transferred, { readonly status: number; readonly body: object }>> = {
  done: { status: 200, body: { message: 'Transfer successful' } },
  'unknown account': { status: 404, body: { detail: 'Account not found' } },
  'insufficient funds': { status: 409, body: { detail: 'Insufficient funds' } },
}
