import { describe, expect, test } from 'vitest'
import { publisherOf } from '../../../cloud/amqp/delivery.ts'
import { provenance, type Provenance, type Published } from '../../../cloud/gateways/provenance.ts'
import { DevicePatterns, noDevices, registeredDevices } from '../../../cloud/gateways/devices.ts'
import { emptyRegistry, registryOf } from '../../../cloud/gateways/registry.ts'
import type { Event } from '../../../src/contract/event.ts'
import { headers as names, wire } from '../../../src/contract/wire.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'

const believes = provenance({
  users: { 'gateway-2': ['site-a', 'site-b'] },
  unvouched: 'refuse',
  unknown: 'accept',
  withoutDevices: 'accept',
  ownUser: 'cloud',
  registry: () => emptyRegistry,
  devices: () => noDevices,
})
const accepting = provenance({
  users: {},
  unvouched: 'accept',
  unknown: 'accept',
  withoutDevices: 'accept',
  ownUser: 'cloud',
  registry: () => emptyRegistry,
  devices: () => noDevices,
})

function eventOf(gateway: string, more: Partial<Event> = {}): Event {
  return new Ledger(gateway).next('device-1', more).event
}
const reading = eventOf('gateway-1')

function said(gateway: string, device: string, more: Partial<Event> = {}): Event {
  return new Ledger(gateway).next(device, more).event
}

function by(publisher: string | undefined, exchange: string = wire.exchange): Published {
  return { exchange, publisher }
}

describe('an event of the cloud’s own ledger', () => {
  const own = eventOf('tidegate-cloud')

  test('is believed of the cloud’s own user alone, whatever else is let in (G9)', () => {
    for (const rule of [believes, accepting]) {
      expect(rule(own, by('cloud'))).toBeUndefined()
      for (const publisher of ['tidegate-cloud', 'gateway-1', undefined])
        expect(rule(own, by(publisher))).toMatchObject({ code: 'PROVENANCE' })
    }
    const named = provenance({
      users: { 'tidegate-cloud': ['other-cloud'] },
      unvouched: 'accept',
      unknown: 'refuse',
      // No gateway has devices of its own readings.
      withoutDevices: 'refuse',
      ownUser: undefined,
      registry: () => emptyRegistry,
      devices: () => noDevices,
    })
    expect(named(own, by('other-cloud'))).toBeUndefined()
    expect(named(own, by('cloud'))).toMatchObject({ code: 'PROVENANCE' })
  })
})

describe('an event', () => {
  test('is believed if the broker vouches for a user of its gateway (G9)', () => {
    expect(believes(reading, by('gateway-1'))).toBeUndefined()
    for (const user of ['site-a', 'site-b']) expect(believes(eventOf('gateway-2'), by(user))).toBeUndefined()
    expect(accepting(reading, by(undefined))).toBeUndefined()
    const entry = { type: 'dev.tidegate.ledger', source: '/gateways/gateway-1', partitionkey: 'gateway-1' }
    expect(believes(eventOf('gateway-1', entry), by('gateway-1'))).toBeUndefined()
    expect(believes(eventOf('gateway-1', { type: 'dev.tidegate.rejected' }), by('gateway-1'))).toBeUndefined()
  })

  test.each<[string, Event, Published, string]>([
    ['another user published it', reading, by('gateway-2'), 'gateway-2 published it'],
    ['nobody is known to have published it', reading, by(undefined), 'no user_id'],
    ['its gateway has users of other names', eventOf('gateway-2'), by('gateway-2'), 'gateway-2 published it'],
    ['its gateway is called as what every object has', eventOf('constructor'), by('toString'), 'toString'],
    ['the cloud itself published it', reading, by('cloud'), 'cloud published it'],
    [
      'its partition key is another device’s',
      eventOf('gateway-1', { partitionkey: 'device-2' }),
      by('gateway-1'),
      'partitionkey',
    ],
    [
      'a device speaks of the ledger',
      eventOf('gateway-1', { type: 'dev.tidegate.ledger' }),
      by('gateway-1'),
      'does not speak of',
    ],
    [
      'a device speaks in words that are the gateway’s, in whatever case',
      eventOf('gateway-1', { type: 'DEV.Tidegate.other' }),
      by('gateway-1'),
      'does not speak of',
    ],
    [
      'a gateway speaks as a device',
      eventOf('gateway-1', { source: '/gateways/gateway-1', partitionkey: 'gateway-1' }),
      by('gateway-1'),
      'does not speak of',
    ],
    [
      'a gateway speaks through another',
      eventOf('gateway-1', {
        type: 'dev.tidegate.ledger',
        source: '/gateways/gateway-2',
        partitionkey: 'gateway-2',
      }),
      by('gateway-1'),
      'speaks through',
    ],
  ])('is refused if %s (G9)', (_, event, published, why) => {
    expect(believes(event, published)).toMatchObject({
      code: 'PROVENANCE',
      retryable: false,
      message: expect.stringContaining(why) as string,
    })
  })

  test('of a gateway that is suspended is refused, and of an unregistered one where that is asked for (G9)', () => {
    const registry = registryOf({
      gateways: [
        { name: 'gateway-1', state: 'active', sinceMs: 0, devicesVersion: null },
        { name: 'gateway-2', state: 'suspended', sinceMs: 0, devicesVersion: null },
      ],
      keys: [],
      names: [],
    })
    const knowing = (unknown: 'accept' | 'refuse'): Provenance =>
      provenance({
        users: {},
        unvouched: 'refuse',
        unknown,
        withoutDevices: 'accept',
        ownUser: 'cloud',
        registry: () => registry,
        devices: () => noDevices,
      })
    const why = (gateway: string, unknown: 'accept' | 'refuse', exchange?: string): string | undefined =>
      knowing(unknown)(eventOf(gateway), by(gateway, exchange))?.message
    expect(why('gateway-1', 'refuse')).toBeUndefined()
    expect(why('gateway-2', 'accept')).toContain('is suspended')
    expect(why('gateway-3', 'accept')).toBeUndefined()
    expect(why('gateway-3', 'refuse')).toContain('no gateway is registered as that')
    expect(why('gateway-3', 'refuse', '')).toBeUndefined()
  })

  test('of a gateway that is suspended is refused under each name that it has or had (G9)', () => {
    const renamed = registryOf({
      gateways: [
        { name: 'gw-old', state: 'active', sinceMs: 0, devicesVersion: null },
        { name: 'gw-new', state: 'suspended', sinceMs: 0, devicesVersion: null },
      ],
      keys: [],
      names: [
        { former: 'gw-oldest', gateway: 'gw-old' },
        { former: 'gw-old', gateway: 'gw-new' },
      ],
    })
    const judge = provenance({
      users: { 'gw-old': ['gw-new'], 'gw-oldest': ['gw-new'] },
      unvouched: 'refuse',
      unknown: 'accept',
      withoutDevices: 'accept',
      ownUser: 'cloud',
      registry: () => renamed,
      devices: () => noDevices,
    })
    for (const name of ['gw-new', 'gw-old', 'gw-oldest'])
      expect(judge(eventOf(name), by('gw-new'))?.message).toContain('is suspended')
    expect(judge(eventOf('gateway-1'), by('gateway-1'))).toBeUndefined()
  })

  describe('of a device that its gateway', () => {
    const devices = registeredDevices(
      new Map([
        ['gateway-1', { patterns: new DevicePatterns(['line-3-*', 'pump-7']) }],
        ['gateway-2', { patterns: new DevicePatterns(['pump-*']) }],
      ]),
      [{ former: 'gateway-1', gateway: 'gateway-1b' }],
    )
    const judging = (
      withoutDevices: 'accept' | 'refuse',
      unvouched: 'accept' | 'refuse' = 'refuse',
    ): Provenance =>
      provenance({
        users: {},
        unvouched,
        unknown: 'accept',
        withoutDevices,
        ownUser: 'cloud',
        registry: () => emptyRegistry,
        devices: () => devices,
      })
    const judge = judging('accept')

    test('may speak of is believed, a quarantined reading too, and under whatever name of the gateway (G9)', () => {
      for (const device of ['line-3-', 'line-3-9', 'pump-7'])
        for (const gateway of ['gateway-1', 'gateway-1b'])
          expect(judge(said(gateway, device), by(gateway))).toBeUndefined()
      // Devices roam: two gateways may speak of one.
      expect(judge(said('gateway-2', 'pump-7'), by('gateway-2'))).toBeUndefined()
      const rejected = { type: 'dev.tidegate.rejected' }
      expect(judge(said('gateway-1', 'pump-7', rejected), by('gateway-1'))).toBeUndefined()
    })

    test('may not speak of is refused, with what is to be done if it is connected there (G9)', () => {
      for (const device of ['line-3', 'line-33', 'LINE-3-1', 'pump-77', 'pump-'])
        for (const gateway of ['gateway-1', 'gateway-1b'])
          for (const type of ['com.acme.climate', 'dev.tidegate.rejected'])
            expect(judge(said(gateway, device, { type }), by(gateway))).toMatchObject({
              code: 'PROVENANCE',
              retryable: false,
              message: expect.stringContaining(`none of the devices that ${gateway} may speak of`) as string,
              hint: expect.stringContaining(`tidegate gateways devices add ${gateway} ${device}`) as string,
            })
      // Also where the broker does not say who published it, and first of all who did.
      const unvouched = judging('accept', 'accept')
      expect(unvouched(said('gateway-1', 'pump-8'), by(undefined))?.message).toContain('none of the devices')
      expect(judge(said('gateway-1', 'pump-8'), by('gateway-2'))?.message).toContain('gateway-2 published it')
    })

    test('has no say about is believed, unless every gateway is to have its devices; its ledger is its own in any case (G9)', () => {
      const strict = judging('refuse')
      expect(judge(said('gateway-3', 'pump-8'), by('gateway-3'))).toBeUndefined()
      expect(strict(said('gateway-3', 'pump-8'), by('gateway-3'))).toMatchObject({
        code: 'PROVENANCE',
        message: expect.stringContaining('nobody has said of which devices') as string,
      })
      expect(strict(said('gateway-1', 'pump-7'), by('gateway-1'))).toBeUndefined()
      for (const gateway of ['gateway-1', 'gateway-3']) {
        const entry = {
          type: 'dev.tidegate.ledger',
          source: `/gateways/${gateway}`,
          partitionkey: gateway,
        }
        expect(strict(said(gateway, gateway, entry), by(gateway))).toBeUndefined()
      }
      // What comes back from a rung, or was replayed by a person, is not asked again.
      expect(strict(said('gateway-1', 'pump-8'), by(undefined, ''))).toBeUndefined()
    })
  })

  test('by the default exchange was let in before, and must not contradict itself all the same (G9)', () => {
    const home = by(undefined, '')
    expect(believes(reading, home)).toBeUndefined()
    expect(believes(eventOf('gateway-1', { partitionkey: 'device-2' }), home)).toMatchObject({
      code: 'PROVENANCE',
    })
  })

  test('was published by whom the broker says, or the cloud of what it publishes again (G9)', () => {
    const headers = { [names.publisher]: 'gateway-1' }
    expect(publisherOf({ userId: 'gateway-2' }, 'cloud')).toBe('gateway-2')
    expect(publisherOf({ userId: 'gateway-2', headers }, 'cloud')).toBe('gateway-2')
    expect(publisherOf({ userId: 'cloud', headers }, 'cloud')).toBe('gateway-1')
    expect(publisherOf({ userId: 'cloud', headers: { [names.publisher]: '' } }, 'cloud')).toBeUndefined()
    expect(publisherOf({ userId: 'cloud' }, 'cloud')).toBe('cloud')
    expect(publisherOf({ headers }, 'cloud')).toBeUndefined()
    expect(publisherOf({ headers }, undefined)).toBeUndefined()
  })
})
