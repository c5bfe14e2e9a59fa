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

/**
 * Everything that is wrong with a queue. What RabbitMQ makes of an argument and a policy that both speak was tried out
 * on 3.10: the smaller number of `message-ttl`, `max-length`, `max-length-bytes` and `delivery-limit`; the policy's
 * `overflow` and `expires`; the argument's dead-letter keys.
 */
export function findingsOf(spec: QueueSpec, actual: QueueInEffect): Finding[] {
  const { definition, policies } = actual
  const given = { ...actual.arguments }
  const findings: Finding[] = []
  const find = (code: FindingCode, severity: Severity, message: string, hint = keepOut): void => {
    findings.push({ code, severity, queue: spec.name, policies, message, hint })
  }
  const number = (key: string): number | undefined => {
    const value = definition[key]
    return typeof value === 'number' ? value : undefined
  }
  const isRung = spec.arguments['x-message-ttl'] !== undefined

  if (actual.type !== 'quorum') {
    find(
      'QUEUE_TYPE',
      'loss',
      `it is a ${actual.type} queue, and no quorum queue: a confirm is not worth as much`,
      anew,
    )
  }
  const differing = Object.entries(spec.formerArguments ?? spec.arguments).filter(
    ([key, value]) => key !== 'x-queue-type' && given[key] !== value,
  )
  if (differing.length > 0) {
    const which = differing.map(([key, value]) => `${key} is ${given[key] ?? 'not set'} instead of ${value}`)
    find('QUEUE_ARGUMENTS', 'loss', which.join(', '), anew)
  }

  const ttlMs = number('message-ttl')
  const delayMs = spec.arguments['x-message-ttl']
  if (ttlMs !== undefined && !isRung) {
    find('POLICY_MESSAGE_TTL', 'loss', `what lies in it for ${ttlMs} ms is removed, processed or not`)
  } else if (ttlMs !== undefined && typeof delayMs === 'number' && ttlMs < delayMs) {
    find('POLICY_MESSAGE_TTL', 'harmless', `letters come back after ${ttlMs} ms, not after ${delayMs}`)
  }

  const expiresMs = number('expires')
  if (expiresMs !== undefined) {
    find(
      'POLICY_EXPIRES',
      'loss',
      `when nobody has read from it for ${expiresMs} ms it is deleted, with all it holds`,
    )
  }

  const deliveries = number('delivery-limit')
  if (deliveries !== undefined && deliveries >= 0 && deliveries < deliveriesEnough && !isRung) {
    find(
      'POLICY_DELIVERY_LIMIT',
      'loss',
      `a message is removed when it comes back more than ${deliveries} times`,
    )
  }

  const limits = ['max-length', 'max-length-bytes'].filter((key) => number(key) !== undefined)
  const overflow = definition['overflow'] ?? given['x-overflow'] ?? 'drop-head'
  if (overflow !== 'reject-publish' && (limits.length > 0 || definition['overflow'] !== undefined)) {
    const told = definition['overflow'] === undefined ? limits.join(', ') : `overflow: ${String(overflow)}`
    find(
      'POLICY_OVERFLOW',
      'loss',
      `at its limit the oldest messages are dropped (${told}), although they were confirmed`,
    )
  } else if (limits.length > 0) {
    const told = limits.map((key) => `${key}: ${number(key)}`).join(', ')
    find(
      'POLICY_LIMIT',
      'harmless',
      `beyond ${told} it refuses, and what should come into it waits where it is`,
    )
  }

  if (isRung && definition['dead-letter-routing-key'] !== undefined) {
    const key = String(definition['dead-letter-routing-key'])
    find('POLICY_DEAD_LETTERS', 'loss', `letters go to ${key} and do not come back to where they failed`)
  } else if (!isRung && definition['dead-letter-exchange'] !== undefined) {
    const exchange = String(definition['dead-letter-exchange'])
    find('POLICY_DEAD_LETTERS', 'harmless', `what is removed from it goes to the exchange ${exchange}`)
  }
  return findings
}

const anew = 'let it run empty and delete it, so that it is declared anew'
