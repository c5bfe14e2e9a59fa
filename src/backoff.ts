import type { Random } from './clock.ts'

export interface BackoffOptions {
  delayMsMin: number
  delayMsMax: number
}

/**
 * The wait before attempt `attempt` (1 = first retry): exponential with equal jitter, so that a fleet of
 * gateways does not return in step. Between half of and all of `delayMsMin * 2^(attempt-1)`, capped.
 * Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
 */
export function backoffMs(attempt: number, options: BackoffOptions, random: Random): number {
  const ceilingMs = Math.min(options.delayMsMax, options.delayMsMin * 2 ** Math.min(attempt - 1, 30))
  return Math.round(ceilingMs / 2 + (ceilingMs / 2) * random())
}
