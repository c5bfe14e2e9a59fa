import { expect, test } from 'vitest'
import type { Database } from '../../../cloud/database/database-postgres.ts'
import { startKnowing } from '../../../cloud/gateways/known.ts'
import { registryOf } from '../../../cloud/gateways/registry.ts'
import { silentLog } from '../../../src/log.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'

test('what is registered is read again every few seconds, and stays while the database is down (G9)', async () => {
  const clock = new FakeClock()
  let state = 'active'
  let isDown = false
  const query = async (text: string): Promise<object[]> => {
    if (isDown) throw new Error('down')
    return text.includes('tidegate.gateways order') ? [{ name: 'gateway-1', state, sinceMs: 0 }] : []
  }
  const known = await startKnowing({ database: { query } as unknown as Database, clock, log: silentLog })
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
