import { describe, expect, test } from 'vitest'
import { findingsOf, type QueueInEffect } from '../../../cloud/queues/findings.ts'
import { exchangeTopology, groupTopology, type QueueSpec } from '../../../cloud/amqp/topology.ts'

const { queues } = groupTopology({
  group: 'g',
  types: ['#'],
  ordered: true,
  ladderMs: [5000],
  partitions: 1,
  mirror: true,
})
const [partition, rung, mirror] = queues as [QueueSpec, QueueSpec, QueueSpec]
const [unroutable] = exchangeTopology().queues as [QueueSpec]
const former: QueueSpec = { name: 'g.00', arguments: {} }

function inEffect(spec: QueueSpec, definition: object, more: Partial<QueueInEffect> = {}): QueueInEffect {
  const policies = Object.keys(definition).length > 0 ? ['p'] : []
  return { type: 'quorum', arguments: spec.arguments, policies, definition: { ...definition }, ...more }
}

describe('what is wrong with a queue (G3, G5)', () => {
  test('nothing, as it was declared', () => {
    for (const spec of [partition, rung, mirror, unroutable, former])
      expect(findingsOf(spec, inEffect(spec, {}))).toEqual([])
  })

  test.each([
    ['message-ttl', { 'message-ttl': 1000 }, 'POLICY_MESSAGE_TTL', 'loss', [partition, unroutable]],
    ['a shorter message-ttl', { 'message-ttl': 1000 }, 'POLICY_MESSAGE_TTL', 'harmless', [rung]],
    ['expires', { expires: 1000 }, 'POLICY_EXPIRES', 'loss', [partition, rung, unroutable]],
    ['delivery-limit', { 'delivery-limit': 20 }, 'POLICY_DELIVERY_LIMIT', 'loss', [partition, unroutable]],
    ['delivery-limit on a rung', { 'delivery-limit': 20 }, 'POLICY_DELIVERY_LIMIT', 'harmless', [rung]],
    ['overflow', { overflow: 'drop-head' }, 'POLICY_OVERFLOW', 'loss', [partition, rung, unroutable]],
    [
      'overflow, with a limit',
      { overflow: 'drop-head', 'max-length': 9 },
      'POLICY_OVERFLOW',
      'loss',
      [unroutable],
    ],
    [
      'overflow: reject-publish-dlx',
      { overflow: 'reject-publish-dlx' },
      'POLICY_OVERFLOW',
      'loss',
      [partition],
    ],
    ['a limit over a former queue', { 'max-length': 10 }, 'POLICY_OVERFLOW', 'loss', [former]],
    ['max-length', { 'max-length': 10 }, 'POLICY_LIMIT', 'harmless', [partition, rung, unroutable]],
    ['max-length-bytes', { 'max-length-bytes': 10 }, 'POLICY_LIMIT', 'harmless', [partition]],
    ['dead-letter-routing-key', { 'dead-letter-routing-key': 'x' }, 'POLICY_DEAD_LETTERS', 'loss', [rung]],
    ['dead-letter-exchange', { 'dead-letter-exchange': 'x' }, 'POLICY_DEAD_LETTERS', 'harmless', [partition]],
  ] as const)('%s by policy', (_, definition, code, severity, specs) => {
    for (const spec of specs)
      expect(findingsOf(spec, inEffect(spec, definition))).toMatchObject([
        { code, severity, queue: spec.name, policies: ['p'] },
      ])
  })

  test.each([
    ['a longer message-ttl on a rung', rung, { 'message-ttl': 9000 }],
    ['a delivery limit as good as none', unroutable, { 'delivery-limit': 1_000_000_000 }],
    ['no delivery limit, as RabbitMQ 4 writes it', partition, { 'delivery-limit': -1 }],
    ['overflow as it is declared', partition, { overflow: 'reject-publish' }],
    ['the place of its leader', partition, { 'queue-leader-locator': 'balanced' }],
  ])('is not %s', (_, spec, definition) => {
    expect(findingsOf(spec, inEffect(spec, definition))).toEqual([])
  })

  test('of the mirror of dead letters nothing is a loss, and its oldest may go', () => {
    expect(findingsOf(mirror, inEffect(mirror, { 'max-length': 10, overflow: 'drop-head' }))).toEqual([])
    expect(findingsOf(mirror, inEffect(mirror, { expires: 1000 }))).toMatchObject([{ severity: 'harmless' }])
  })

  test('another type or other arguments than were asked for', () => {
    const classic = inEffect(partition, {}, { type: 'classic', arguments: { 'x-overflow': 'drop-head' } })
    expect(findingsOf(partition, classic)).toMatchObject([
      { code: 'QUEUE_TYPE', severity: 'loss' },
      {
        code: 'QUEUE_ARGUMENTS',
        severity: 'loss',
        message: expect.stringContaining('x-overflow is drop-head instead of reject-publish') as string,
      },
    ])
    expect(
      findingsOf(unroutable, inEffect(unroutable, {}, { arguments: unroutable.formerArguments ?? {} })),
    ).toEqual([])
  })
})
