import { tokenFaults } from './tokens/verify.ts'

/** Why a request was not served to somebody, besides what is wrong with the request: label of a metric. */
export const refusalReasons = [...tokenFaults, 'right', 'rate', 'host'] as const

export type RefusalReason = (typeof refusalReasons)[number]

/** Whoever counts what the API does. */
export interface ApiObserver {
  /** `route` as in the OpenAPI document, with its method; `none` where there is none. */
  answered(route: string, status: number, tookMs: number): void
  refused(reason: RefusalReason): void
}
