import type { Random } from '../../src/clock.ts'
import { TidegateError } from '../../src/errors.ts'
import { passesLink } from '../stack/broker-way.ts'
import type { LinkMode } from '../stack/link.ts'

/** Something to be done to the system. Times are ms from the start of the run. */
export type PlannedFault =
  | { kind: 'link'; mode: Exclude<LinkMode, { kind: 'up' }>; atMs: number; forMs: number }
  /** kill -9, and a start again after `forMs`. */
  | { kind: 'kill'; target: KillTarget; atMs: number; forMs: number }

export const killTargets = ['edge', 'cloud', 'broker', 'database'] as const
export type KillTarget = (typeof killTargets)[number]

/** What a run is to be, as its view tells it. */
export interface RunPlan {
  /** Undefined: until somebody stops it. */
  forMs: number | undefined
  faults: readonly PlannedFault[]
}

/** Those to come, the next one first. */
export function faultsAhead({ faults }: RunPlan, elapsedMs: number): PlannedFault[] {
  return faults.filter(({ atMs }) => atMs > elapsedMs).toSorted((a, b) => a.atMs - b.atMs)
}

export function nameFault(fault: PlannedFault): string {
  return fault.kind === 'kill' ? `kill -9 of the ${fault.target}` : `uplink ${fault.mode.kind}`
}

export interface FaultWish {
  /** How long the run is; undefined: until somebody stops it. */
  forMs: number | undefined
  /** 0: none. */
  outageMs: number
  kills: readonly KillTarget[]
  random: Random
  /** A server that is given is not ours to kill, nor always to cut off. */
  env: NodeJS.ProcessEnv
}

const givenBy: Partial<Record<KillTarget, string>> = {
  broker: 'TIDEGATE_AMQP_URL',
  database: 'TIDEGATE_PG_URL',
}

/** What is to be done to a run, and when. @throws TidegateError `OPTIONS_INVALID` if that cannot be */
export function planFaults({ forMs = 0, outageMs, kills, random, env }: FaultWish): PlannedFault[] {
  if (outageMs > 0 && outageMs >= forMs) throw outageTooLong(forMs, outageMs)
  if (outageMs > 0 && !passesLink(env['TIDEGATE_AMQP_URL'] ?? '')) throw noLink()
  for (const target of kills) {
    const variable = givenBy[target]
    if (variable !== undefined && env[variable]) throw notOursToKill(target, variable)
  }
  return [...outageInTheMiddle(forMs, outageMs), ...planKills(kills, forMs, random)]
}

/** One outage in the middle of the run. */
function outageInTheMiddle(forMs: number, outageMs: number): PlannedFault[] {
  if (outageMs === 0) return []
  return [{ kind: 'link', mode: { kind: 'down' }, atMs: (forMs - outageMs) / 2, forMs: outageMs }]
}

/** After its start a program is given this long before something else is killed. */
const breathMs = 4000

/**
 * When to kill what: each target once, at moments that the seed decides, in an order that the seed decides,
 * spread over the run. Kills may fall into an outage; two kills never overlap.
 */
function planKills(targets: readonly KillTarget[], forMs: number, random: Random): PlannedFault[] {
  const order = shuffle(targets, random)
  const share = (forMs * 0.8) / Math.max(1, order.length)
  return order.map((target, index) => {
    const room = Math.max(0, share - breathMs)
    const atMs = Math.round(forMs * 0.1 + index * share + room * random())
    return { kind: 'kill', target, atMs, forMs: Math.round(500 + 2500 * random()) }
  })
}

function shuffle<T>(items: readonly T[], random: Random): T[] {
  const left = [...items]
  const shuffled: T[] = []
  while (left.length > 0) shuffled.push(...left.splice(Math.floor(random() * left.length), 1))
  return shuffled
}

function outageTooLong(forMs: number, outageMs: number): TidegateError {
  const lasts = forMs === 0 ? 'which has no end' : `which lasts ${forMs / 1000} s`
  return new TidegateError('OPTIONS_INVALID', {
    message: `the outage (${outageMs / 1000} s) must be shorter than the run it is taken out of, ${lasts}`,
    retryable: false,
    hint: 'say both, such as --for 30s --outage 10s; --outage 0s is none',
  })
}

function notOursToKill(target: KillTarget, variable: string): TidegateError {
  return new TidegateError('OPTIONS_INVALID', {
    message: `the ${target} is given by ${variable}, and is not ours to kill`,
    retryable: false,
    hint: `leave ${target} out of --kill; or unset ${variable}, and a private one is started`,
  })
}

function noLink(): TidegateError {
  return new TidegateError('OPTIONS_INVALID', {
    message: 'the uplink to a broker given as amqps:// passes no link of ours that could be taken down',
    retryable: false,
    hint: 'give --outage 0s; or a TIDEGATE_AMQP_URL with amqp://; or unset it, and a private broker is started',
  })
}
