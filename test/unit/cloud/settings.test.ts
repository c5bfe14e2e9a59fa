import { describe, expect, test } from 'vitest'
import { cloudConfigSchema } from '../../../cloud/config.ts'
import { defineConsumer } from '../../../cloud/pipeline/consumer.ts'
import {
  configured,
  type ConfiguredConsumer,
  type ConsumerDefaults,
} from '../../../cloud/pipeline/definition.ts'
import { defineProjection } from '../../../cloud/projections/definition.ts'
import { latest } from '../../../cloud/projections/built-in/latest.ts'
import { tellSmallPool } from '../../../cloud/startup.ts'
import { type Logger, silentLog } from '../../../src/log.ts'
import {
  connectionsNeeded,
  connectionSettings,
  consumerSettings,
  databaseSettings,
  groupSettings,
  managementSettings,
} from '../../../cloud/settings.ts'

const config = (more: object = {}) => cloudConfigSchema.parse({ instance: 'i', ...more })
const consumers = (...timeouts: string[]) =>
  timeouts.map((timeout, index) =>
    configured(defineConsumer({ group: `g${index}`, types: ['#'], timeout, handle() {} }), {
      ladderMs: [],
      timeoutMs: 1,
    }),
  )

function laddersOf(defaults: ConsumerDefaults) {
  const ladderOf = (onFailure: 'park' | 'overtake') =>
    configured(defineConsumer({ group: 'g', types: ['#'], onFailure, handle() {} }), defaults).ladderMs
  return { park: ladderOf('park'), overtake: ladderOf('overtake') }
}

const ladders = (more: object) => laddersOf(consumerSettings(config(more)).defaults)

describe('the configuration in the words of each part', () => {
  test('the database ends a session that sits in a transaction for longer than any handler may take', () => {
    const { idleInTransactionMsMax } = databaseSettings(config(), consumers('2s', '90s', '10s'), [])
    expect(idleInTransactionMsMax).toBe(120_000)
    const slow = defineProjection({
      name: 'slow',
      version: 1,
      events: ['#'],
      tables: 'x',
      timeout: '100s',
      apply() {},
    })
    expect(databaseSettings(config(), consumers('2s'), [slow, latest]).idleInTransactionMsMax).toBe(130_000)
    expect(databaseSettings(config(), consumers('2s'), [latest]).idleInTransactionMsMax).toBe(40_000)
  })

  test('every lane of every group, what it draws from former queues, every parked device that is tried, and each projection, has a connection to the database, unless it is told how many there are', () => {
    const lanes = { batch: { lanes: 3 }, parking: { concurrency: 5 } }
    const [parking, other] = consumers('1s', '1s')
    const groups = [parking, { ...other, parks: false }] as ConfiguredConsumer[]
    expect(databaseSettings(config(lanes), groups, []).poolMax).toBe(2 * (3 + 1) + 5 + 1 + 4)
    const unset = { batch: { lanes: 3 } }
    expect(databaseSettings(config(unset), groups, []).poolMax).toBe(2 * (3 + 1) + 3 + 1 + 4)
    const none = { ...unset, projections: [] }
    expect(databaseSettings(config(none), groups, []).poolMax).toBe(2 * (3 + 1) + 3 + 4)
    expect(
      databaseSettings(config({ ...lanes, database: { poolMax: 5 } }), consumers('1s'), []).poolMax,
    ).toBe(5)
  })

  test('fewer connections than there may be transactions are warned of, by how many are needed', () => {
    const warnings: object[] = []
    const log = { ...silentLog, warn: (fields: object) => void warnings.push(fields) } as unknown as Logger
    const needed = connectionsNeeded(config({ batch: { lanes: 3 } }), consumers('1s'))
    for (const poolMax of [undefined, needed, needed - 1]) tellSmallPool(log, poolMax, needed)
    expect(warnings).toEqual([
      { code: 'DATABASE_POOL_SMALL', poolMax: 11, needed: 12, hint: expect.any(String) as string },
    ])
  })

  test('the configured ladder and timeout are what consumers have that do not say otherwise', () => {
    const { defaults } = consumerSettings(config({ retry: { ladder: ['2s', '1m'] }, handlerTimeout: '9s' }))
    expect(defaults).toMatchObject({ timeoutMs: 9_000, parks: true })
    expect(laddersOf(defaults)).toEqual({ park: [2_000, 60_000], overtake: [2_000, 60_000] })
  })

  test('groups that park have a ladder of their own, unless only that of all is configured', () => {
    const [short, long] = [
      [1_000, 5_000, 30_000, 120_000],
      [5_000, 30_000, 300_000, 1_800_000],
    ]
    expect(ladders({})).toEqual({ park: short, overtake: long })
    expect(ladders({ parking: { ladder: ['1s'] } })).toEqual({ park: [1_000], overtake: long })
    const both = { retry: { ladder: ['2s'] }, parking: { ladder: [] } }
    expect(ladders(both)).toEqual({ park: [], overtake: [2_000] })
  })

  test('a group gets its own settings, and no other', () => {
    expect(
      groupSettings(config({ prefetch: 3000, stop: { grace: '3s' }, sharing: { goneAfter: '20s' } })),
    ).toEqual({
      instance: 'i',
      partitions: 16,
      prefetch: 3000,
      batchMax: 1000,
      batchTimeTargetMs: 1_000,
      lanes: 4,
      parking: {
        byDefault: true,
        devicesMax: 10_000,
        eventsMax: 1_000_000,
        eventsMaxPerDevice: 10_000,
      },
      goneAfterMs: 20_000,
      stallAfterMs: 60_000,
      stopGraceMs: 3_000,
      mirror: true,
    })
  })

  test('RabbitMQ shows each connection with its instance and purpose', () => {
    expect(connectionSettings(config(), 'publish').connectionName).toBe('tidegate-cloud i publish')
  })

  test('nobody looks at what is in effect for queues without broker.management', () => {
    expect(managementSettings(config())).toBeUndefined()
    const broker = { url: 'amqp://h/v', management: 'http://u:p@h:15672' }
    expect(managementSettings(config({ broker }))).toEqual({ url: broker.management, brokerUrl: broker.url })
  })
})
