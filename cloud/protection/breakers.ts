import {
  BrokenCircuitError,
  circuitBreaker,
  type CircuitBreakerPolicy,
  handleAll,
  SamplingBreaker,
} from 'cockatiel'
import { TidegateError } from '../../src/errors.ts'
import { Unavailable } from './unavailable.ts'

/** Around what a handler calls: when that fails too often it is left alone for a while. */
export interface Breaker {
  /**
   * Calls `work`, unless the breaker is open. What `work` throws counts as a failure of what it calls, and is thrown.
   * @throws Unavailable while it is open: the group waits, and no attempt is counted.
   */
  execute<T>(work: () => Promise<T> | T): Promise<T>
}

/** The breaker of a name, in this instance and group; the same for the same name. */
export type Breakers = (name: string) => Breaker

/** Opens when half of the calls of 30 s failed, and there was one every two seconds; lets one through after 10 s. */
const sampling = { threshold: 0.5, duration: 30_000, minimumRps: 0.5 } as const
const halfOpenAfterMs = 10_000
/** A name is one of few things that a handler calls, and not of many that a device sends (G7). */
const namesMax = 100

/** Cockatiel 3 measures by the process's own clock. */
export function createBreakers(): Breakers {
  const known = new Map<string, Breaker>()
  return (name) => {
    const breaker = known.get(name)
    if (breaker !== undefined) return breaker
    if (known.size >= namesMax) throw tooMany()
    const made = breakerOf(
      name,
      circuitBreaker(handleAll, { halfOpenAfter: halfOpenAfterMs, breaker: new SamplingBreaker(sampling) }),
    )
    known.set(name, made)
    return made
  }
}

function breakerOf(name: string, policy: CircuitBreakerPolicy): Breaker {
  return {
    async execute(work) {
      try {
        return await policy.execute(() => work())
      } catch (error) {
        if (error instanceof BrokenCircuitError)
          throw new Unavailable(`${name.slice(0, 100)} failed too often, and is left alone for a while`, {
            cause: error,
          })
        throw error
      }
    },
  }
}

function tooMany(): TidegateError {
  return new TidegateError('BREAKERS_TOO_MANY', {
    message: `a handler has asked for more than ${namesMax} breakers`,
    retryable: false,
    hint: 'name a breaker after what is called, and not after a device or an event',
  })
}
