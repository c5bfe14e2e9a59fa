import {
  BrokenCircuitError,
  circuitBreaker,
  type CircuitBreakerPolicy,
  CircuitState,
  handleAll,
  SamplingBreaker,
} from 'cockatiel'
import { TidegateError } from '../../src/errors.ts'
import { orAborted } from '../../src/lifecycle.ts'
import { Unavailable } from './unavailable.ts'

/** Around what a handler calls: when that fails too often it is left alone for a while. */
export interface Breaker {
  /**
   * Calls `work`, unless the breaker is open. What `work` throws counts as a failure of what it calls, and is thrown; so does a handler
   * whose time is over before `work` is.
   * @throws Unavailable while it is open, or another call tries whether it may close: the group waits, and no attempt is counted.
   */
  execute<T>(work: () => Promise<T> | T): Promise<T>
}

/** The breaker of a name, in this instance and group. */
export type Breakers = (name: string) => Breaker

/** Those of a group, for a call of its handler that ends with `signal`. */
export type BreakersFor = (signal: AbortSignal) => Breakers

/** Opens when half of the calls of 30 s failed, and there was one every two seconds; lets one through after 10 s. */
const sampling = { threshold: 0.5, duration: 30_000, minimumRps: 0.5 } as const
const halfOpenAfterMs = 10_000
/** A name is one of few things that a handler calls, and not of many that a device sends (G7). */
const namesMax = 100

/** Cockatiel 3 measures by the process's own clock. */
export function createBreakers(): BreakersFor {
  const known = new Map<string, CircuitBreakerPolicy>()
  const policyOf = (name: string): CircuitBreakerPolicy => {
    const policy = known.get(name)
    if (policy !== undefined) return policy
    if (known.size >= namesMax) throw tooMany()
    const made = circuitBreaker(handleAll, {
      halfOpenAfter: halfOpenAfterMs,
      breaker: new SamplingBreaker(sampling),
    })
    known.set(name, made)
    return made
  }
  return (signal) => (name) => breakerOf(name, policyOf(name), signal)
}

function breakerOf(name: string, policy: CircuitBreakerPolicy, signal: AbortSignal): Breaker {
  const leftAlone = (cause?: unknown): Unavailable =>
    new Unavailable(`${name.slice(0, 100)} failed too often, and is left alone for a while`, { cause })
  return {
    async execute(work) {
      // Cockatiel would wait for the call that tries, which may hang, and the attempt of whoever waits would be counted.
      if (policy.state === CircuitState.HalfOpen) throw leftAlone()
      try {
        return await policy.execute(() => orAborted(promised(work), signal))
      } catch (error) {
        throw error instanceof BrokenCircuitError ? leftAlone(error) : error
      }
    },
  }
}

async function promised<T>(work: () => Promise<T> | T): Promise<T> {
  return work()
}

function tooMany(): TidegateError {
  return new TidegateError('BREAKERS_TOO_MANY', {
    message: `a handler has asked for more than ${namesMax} breakers`,
    retryable: false,
    hint: 'name a breaker after what is called, and not after a device or an event',
  })
}
