import type { QueueArguments, QueueSpec } from '../amqp/topology.ts'

/** What the broker says is in effect for a queue. */
export interface QueueInEffect {
  type: string
  arguments: QueueArguments
  policies: readonly string[]
  /** What the policies set, merged by the broker. */
  definition: Readonly<Record<string, string | number | boolean>>
}

export const findingCodes = [
  'QUEUE_TYPE',
  'QUEUE_ARGUMENTS',
  'POLICY_MESSAGE_TTL',
  'POLICY_EXPIRES',
  'POLICY_DELIVERY_LIMIT',
  'POLICY_OVERFLOW',
  'POLICY_LIMIT',
  'POLICY_DEAD_LETTERS',
] as const
export type FindingCode = (typeof findingCodes)[number]

export type Severity = 'loss' | 'harmless'

/** A setting that is not as Tidegate needs it. */
export interface Finding {
  code: FindingCode
  /** `loss`: what was confirmed or set aside can be gone because of it. */
  severity: Severity
  queue: string
  policies: readonly string[]
  message: string
  hint: string
}

/** So many deliveries are as good as no limit. */
const deliveriesEnough = 1_000_000_000
const keepOut = 'change the policy so that it does not match this queue, or take that key out of it'
const anew = 'let it run empty and delete it, so that it is declared anew'

/**
 * Everything that is wrong with a queue. What RabbitMQ makes of an argument and a policy that both speak was tried out
 * on 3.10: the smaller number of `message-ttl`, `max-length`, `max-length-bytes` and `delivery-limit`; the policy's
 * `overflow` and `expires`; the argument's dead-letter keys.
 */
export function findingsOf(spec: QueueSpec, actual: QueueInEffect): Finding[] {
  const looked: Looked = {
    spec,
    actual,
    isRung: spec.arguments['x-message-ttl'] !== undefined,
    isCopy: spec.arguments['x-overflow'] === 'drop-head',
  }
  return rules
    .map((rule) => rule(looked))
    .filter((found) => found !== undefined)
    .map(([code, severity, message, hint = keepOut]) => {
      return {
        code,
        severity: looked.isCopy ? 'harmless' : severity,
        queue: spec.name,
        policies: actual.policies,
        message,
        hint,
      }
    })
}

interface Looked {
  spec: QueueSpec
  actual: QueueInEffect
  /** Letters wait in it and come back by themselves. */
  isRung: boolean
  /** What it holds is a copy, and its oldest may go. */
  isCopy: boolean
}

type Found = [code: FindingCode, severity: Severity, message: string, hint?: string]

/** Each finds one kind of fault, or nothing; told in this order. */
const rules: readonly ((looked: Looked) => Found | undefined)[] = [
  otherType,
  otherArguments,
  messageTtl,
  expires,
  deliveryLimit,
  overflowOrLimit,
  deadLetters,
]

function otherType({ actual: { type } }: Looked): Found | undefined {
  if (type === 'quorum') return undefined
  const message = `it is a ${type} queue, and no quorum queue: a confirm is not worth as much`
  return ['QUEUE_TYPE', 'loss', message, anew]
}

function otherArguments({ spec, actual }: Looked): Found | undefined {
  const given = actual.arguments
  const differing = Object.entries(spec.formerArguments ?? spec.arguments).filter(
    ([key, value]) => key !== 'x-queue-type' && given[key] !== value,
  )
  if (differing.length === 0) return undefined
  const which = differing.map(([key, value]) => `${key} is ${given[key] ?? 'not set'} instead of ${value}`)
  return ['QUEUE_ARGUMENTS', 'loss', which.join(', '), anew]
}

function messageTtl({ spec, actual, isRung }: Looked): Found | undefined {
  const ttlMs = numberIn(actual, 'message-ttl')
  const delayMs = spec.arguments['x-message-ttl']
  if (ttlMs === undefined) return undefined
  if (!isRung) {
    return ['POLICY_MESSAGE_TTL', 'loss', `what lies in it for ${ttlMs} ms is removed, processed or not`]
  }
  if (typeof delayMs !== 'number' || ttlMs >= delayMs) return undefined
  return ['POLICY_MESSAGE_TTL', 'harmless', `letters come back after ${ttlMs} ms, not after ${delayMs}`]
}

function expires({ actual }: Looked): Found | undefined {
  const expiresMs = numberIn(actual, 'expires')
  if (expiresMs === undefined) return undefined
  const message = `when nobody has read from it for ${expiresMs} ms it is deleted, with all it holds`
  return ['POLICY_EXPIRES', 'loss', message]
}

function deliveryLimit({ actual, isRung }: Looked): Found | undefined {
  const deliveries = numberIn(actual, 'delivery-limit')
  if (deliveries === undefined || deliveries < 0 || deliveries >= deliveriesEnough) return undefined
  if (isRung) {
    const message = `letters that were looked at more than ${deliveries} times come back at once, before their time`
    return ['POLICY_DELIVERY_LIMIT', 'harmless', message]
  }
  return [
    'POLICY_DELIVERY_LIMIT',
    'loss',
    `a message is removed when it comes back more than ${deliveries} times`,
  ]
}

function overflowOrLimit({ actual, isCopy }: Looked): Found | undefined {
  if (isCopy) return undefined
  const ofPolicy = actual.definition['overflow']
  const limits = ['max-length', 'max-length-bytes'].filter((key) => numberIn(actual, key) !== undefined)
  const overflow = ofPolicy ?? actual.arguments['x-overflow'] ?? 'drop-head'
  if (overflow !== 'reject-publish' && (limits.length > 0 || ofPolicy !== undefined)) {
    const told = ofPolicy === undefined ? limits.join(', ') : `overflow: ${String(overflow)}`
    const message = `at its limit the oldest messages are dropped (${told}), although they were confirmed`
    return ['POLICY_OVERFLOW', 'loss', message]
  }
  if (limits.length === 0) return undefined
  const told = limits.map((key) => `${key}: ${numberIn(actual, key)}`).join(', ')
  return [
    'POLICY_LIMIT',
    'harmless',
    `beyond ${told} it refuses, and what should come into it waits where it is`,
  ]
}

function deadLetters({ actual: { definition }, isRung }: Looked): Found | undefined {
  const key = definition['dead-letter-routing-key']
  const exchange = definition['dead-letter-exchange']
  if (isRung && key !== undefined) {
    const message = `letters go to ${String(key)} and do not come back to where they failed`
    return ['POLICY_DEAD_LETTERS', 'loss', message]
  }
  if (isRung || exchange === undefined) return undefined
  return [
    'POLICY_DEAD_LETTERS',
    'harmless',
    `what is removed from it goes to the exchange ${String(exchange)}`,
  ]
}

function numberIn({ definition }: QueueInEffect, key: string): number | undefined {
  const value = definition[key]
  return typeof value === 'number' ? value : undefined
}
