import { describe, expect, test } from 'vitest'
import { exchangeTopology, groupTopology } from '../../../cloud/amqp/topology.ts'
import { matchesTopic } from '../../../src/contract/wire.ts'

const topologyOf = (ordered: boolean) =>
  groupTopology({
    group: 'g',
    types: ['com.acme.*', '#'],
    ordered,
    ladderMs: [5_000, 60_000, 5_000],
    partitions: 2,
    mirror: true,
  })

describe('the topology', () => {
  test('a rung gives letters back to the queue they failed in, and never drops one', () => {
    const { queues, exchanges, bindings } = topologyOf(true)
    const rung = queues.find(({ name }) => name === 'g.retry.5s')
    expect(rung?.arguments).toEqual({
      'x-queue-type': 'quorum',
      'x-message-ttl': 5_000,
      'x-dead-letter-exchange': '',
      'x-dead-letter-strategy': 'at-least-once',
      'x-overflow': 'reject-publish',
      'x-max-length': 1_000_000,
      'x-delivery-limit': 1_000_000_000,
    })
    expect(exchanges).toContainEqual({ name: 'g.retry.5s', type: 'fanout', arguments: {} })
    expect(bindings).toContainEqual({ exchange: 'g.retry.5s', queue: 'g.retry.5s', routingKey: '' })
  })

  test('every queue has a delivery limit that nothing meets: without one RabbitMQ 4 gives it one of 20 (G5)', () => {
    const specs = [exchangeTopology(), topologyOf(true), topologyOf(false)].flatMap(({ queues }) => queues)
    expect(specs.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['tidegate.unroutable', 'g.00.v2', 'g.retry.5s', 'g.dead.v2']),
    )
    for (const { arguments: given } of specs)
      expect(given).toMatchObject({ 'x-queue-type': 'quorum', 'x-delivery-limit': 1_000_000_000 })
  })

  test('each partition has a queue per group, each type pattern a binding, and each delay one rung', () => {
    const { queues, bindings } = topologyOf(true)
    expect(queues.map(({ name }) => name)).toEqual([
      'g.00.v2',
      'g.01.v2',
      'g.retry.5s',
      'g.retry.1m',
      'g.dead.v2',
    ])
    expect(bindings.filter(({ queue }) => queue === 'g.01.v2').map(({ routingKey }) => routingKey)).toEqual([
      '01.com.acme.*',
      '01.#',
    ])
  })

  test('ordered groups have one active consumer per partition, others do not', () => {
    expect(topologyOf(true).queues[0]?.arguments).toHaveProperty('x-single-active-consumer', true)
    expect(topologyOf(false).queues[0]?.arguments).not.toHaveProperty('x-single-active-consumer')
  })

  test('what no group wants is kept', () => {
    const { exchanges, bindings } = exchangeTopology()
    expect(exchanges).toContainEqual({
      name: 'tidegate.events',
      type: 'topic',
      arguments: { 'alternate-exchange': 'tidegate.unroutable' },
    })
    expect(bindings).toEqual([
      { exchange: 'tidegate.unroutable', queue: 'tidegate.unroutable', routingKey: '' },
    ])
  })

  test.each([
    ['a.b', 'a.b', true],
    ['a.b', 'a.b.c', false],
    ['a.*', 'a.b', true],
    ['a.*', 'a', false],
    ['a.*', 'a.b.c', false],
    ['a.#', 'a', true],
    ['a.#', 'a.b.c', true],
    ['#', 'a.b', true],
    ['#.c', 'a.b.c', true],
    ['a.#.c', 'a.c', true],
    ['a.#.c', 'a.b.b.c', true],
    ['a.#.c', 'a.b', false],
    ['a.b', 'axb', false],
  ])('%s takes %s: %s', (pattern, name, matches) => {
    expect(matchesTopic(pattern, name)).toBe(matches)
  })
})
