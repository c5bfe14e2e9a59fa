import { expect, test } from 'vitest'
import type { Database } from '../../../cloud/database/database-postgres.ts'
import { startKnowing } from '../../../cloud/gateways/known.ts'
import { requireRegistered } from '../../../cloud/gateways/provenance.ts'
import { registryOf } from '../../../cloud/gateways/registry.ts'
import { silentLog } from '../../../src/log.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'

test('what is registered is read again every few seconds, and stays while the database is down (G9)', async () => {
  const clock = new FakeClock()
  let state = 'active'
  let isDown = false
  const query = async (text: string): Promise<object[]> => {
    if (isDown) throw new Error('down')
    return text.includes('tidegate.gateways order')
      ? [{ name: 'gateway-1', state, sinceMs: 0, devicesVersion: null }]
      : []
  }
  const known = await startKnowing({
    database: { query, snapshot: (work: (q: unknown) => unknown) => work(query) } as unknown as Database,
    clock,
    log: silentLog,
  })
  expect(known.registry.stateOf('gateway-1')).toBe('active')
  state = 'suspended'
  isDown = true
  await clock.advance(5_000)
  await settled()
  expect(known.registry.stateOf('gateway-1')).toBe('active')
  isDown = false
  await clock.advance(5_000)
  await settled()
  expect(known.registry.stateOf('gateway-1')).toBe('suspended')
  await known.close()
})

test('a suspension waits for no devices that are still being read, and stays when they cannot be (G9)', async () => {
  const clock = new FakeClock()
  let version = 'v1'
  let state = 'active'
  let reading: Promise<object[]> = Promise.resolve([{ pattern: 'sensor-1' }])
  const query = async (text: string): Promise<object[]> => {
    if (text.includes('tidegate.gateway_devices')) return reading
    return text.includes('tidegate.gateways order')
      ? ['gateway-1', 'gateway-2'].map((name) => ({
          name,
          state: name === 'gateway-1' ? state : 'active',
          sinceMs: 0,
          devicesVersion: name === 'gateway-1' ? null : version,
        }))
      : []
  }
  const known = await startKnowing({
    database: { query, snapshot: (work: (q: unknown) => unknown) => work(query) } as unknown as Database,
    clock,
    log: silentLog,
  })
  expect(known.devices.maySpeakFor('gateway-2', 'sensor-1')).toBe(true)
  const failing: { reject?: (error: Error) => void } = {}
  reading = new Promise((_, reject) => (failing.reject = reject))
  ;[version, state] = ['v2', 'suspended']
  await clock.advance(5_000)
  await settled()
  const now = (): unknown[] => [
    known.registry.stateOf('gateway-1'),
    known.registry.stateOf('gateway-2'),
    known.devices.maySpeakFor('gateway-2', 'sensor-1'),
  ]
  expect(now()).toEqual(['suspended', 'active', true])
  failing.reject?.(new Error('down'))
  await settled()
  expect(now()).toEqual(['suspended', 'active', true])
  // Taken back: with all else, as before.
  ;[state, reading] = ['active', Promise.resolve([{ pattern: 'sensor-2' }])]
  await clock.advance(5_000)
  await settled()
  expect(now()).toEqual(['active', 'active', false])
  await known.close()
})

test('a gateway that is registered as suspended is so before the devices of others are read (G9)', async () => {
  const clock = new FakeClock()
  const rows = [{ name: 'gateway-1', state: 'active', sinceMs: 0, devicesVersion: 'v1' }]
  let reading: Promise<object[]> = Promise.resolve([])
  const query = async (text: string): Promise<object[]> => {
    if (text.includes('tidegate.gateway_devices')) return reading
    return text.includes('tidegate.gateways order') ? [...rows] : []
  }
  const known = await startKnowing({
    database: { query, snapshot: (work: (q: unknown) => unknown) => work(query) } as unknown as Database,
    clock,
    log: silentLog,
  })
  expect(known.registry.stateOf('gateway-2')).toBeUndefined()
  const failing: { reject?: (error: Error) => void } = {}
  reading = new Promise((_, reject) => (failing.reject = reject))
  rows.push({ name: 'gateway-2', state: 'suspended', sinceMs: 0, devicesVersion: 'v2' })
  await clock.advance(5_000)
  await settled()
  expect(known.registry.stateOf('gateway-2')).toBe('suspended')
  failing.reject?.(new Error('down'))
  await known.close()
})

test('a registry that is suddenly empty is not believed, and told of (G9)', async () => {
  const clock = new FakeClock()
  let rows: object[] = [{ name: 'gateway-1', state: 'active', sinceMs: 0, devicesVersion: null }]
  const query = async (text: string): Promise<object[]> =>
    text.includes('tidegate.gateways order') ? rows : []
  const told: object[] = []
  const log = { ...silentLog, error: (fields: object) => void told.push(fields) }
  const known = await startKnowing({
    database: { query, snapshot: (work: (q: unknown) => unknown) => work(query) } as unknown as Database,
    clock,
    log,
  })
  rows = []
  await clock.advance(5_000)
  await settled()
  expect(known.registry.stateOf('gateway-1')).toBe('active')
  expect(told).toMatchObject([{ code: 'GATEWAY_UNKNOWN' }])
  await known.close()
})

test('to refuse whoever is not registered is refused before anybody is (G9)', () => {
  const gateways = [{ name: 'gateway-1', state: 'active', sinceMs: 0, devicesVersion: null }] as const
  expect(() => requireRegistered('refuse', { gateways: [] })).toThrow('no gateway is registered')
  expect(() => requireRegistered('accept', { gateways: [] })).not.toThrow()
  expect(() => requireRegistered('refuse', { gateways })).not.toThrow()
})

test('a gateway may speak of what it was called before, over several names, and of nothing it will be called (G9)', () => {
  const names = [
    { former: 'a', gateway: 'b' },
    { former: 'b', gateway: 'c' },
  ]
  const registry = registryOf({ gateways: [], keys: [], names })
  const maySpeakOf = (speaker: string, owner: string): boolean => registry.maySpeakOf(speaker, owner)
  expect([maySpeakOf('a', 'a'), maySpeakOf('b', 'a'), maySpeakOf('c', 'a')]).toEqual([true, true, true])
  expect([maySpeakOf('a', 'b'), maySpeakOf('d', 'a')]).toEqual([false, false])
  const circle = registryOf({ gateways: [], keys: [], names: [...names, { former: 'c', gateway: 'a' }] })
  expect(circle.maySpeakOf('d', 'a')).toBe(false)
})
