import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Database } from '../../../cloud/database/database-postgres.ts'
import { parseDeviceFile } from '../../../cloud/gateways/device-file.ts'
import { DevicePatterns, registeredDevices } from '../../../cloud/gateways/devices.ts'
import { startKnowing } from '../../../cloud/gateways/known.ts'
import { requireDevices } from '../../../cloud/gateways/provenance.ts'
import { isDevicePattern } from '../../../src/contract/event.ts'
import { silentLog } from '../../../src/log.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'

const listOf = (...patterns: string[]): { patterns: DevicePatterns } => ({
  patterns: new DevicePatterns(patterns),
})

describe('of which devices a gateway may speak', () => {
  test('is what its patterns say, one by one, however many there are (G9)', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', '-'), maxLength: 4 })
    const pattern = fc
      .tuple(letters, fc.boolean())
      .map(([text, isStart]) => (isStart ? `${text}*` : `a${text}`))
    fc.assert(
      fc.property(fc.array(pattern, { maxLength: 6 }), letters, (patterns, device) => {
        const one = (each: string): boolean =>
          each.endsWith('*') ? device.startsWith(each.slice(0, -1)) : device === each
        expect(new DevicePatterns(patterns).covers(device)).toBe(patterns.some(one))
      }),
      { numRuns: 2000 },
    )
  })

  test('holds under each of its names, and says nothing of another gateway (G9)', () => {
    const names = [
      { former: 'a', gateway: 'b' },
      { former: 'b', gateway: 'c' },
      { former: 'c', gateway: 'b' },
      { former: 'x', gateway: 'y' },
    ]
    const devices = registeredDevices(
      new Map([
        ['a', listOf('pump-1')],
        ['c', listOf('pump-2', 'pump-1')],
        ['d', listOf('pump-3')],
        ['y', listOf()],
      ]),
      names,
    )
    for (const name of ['a', 'b', 'c']) {
      expect(devices.patternsOf(name)).toEqual(['pump-1', 'pump-2'])
      expect([devices.maySpeakFor(name, 'pump-2'), devices.maySpeakFor(name, 'pump-3')]).toEqual([
        true,
        false,
      ])
    }
    expect(devices.patternsOf('d')).toEqual(['pump-3'])
    for (const name of ['x', 'y', 'z', 'constructor'])
      expect(devices.maySpeakFor(name, 'pump-1')).toBeUndefined()
    expect(devices.size).toBe(4)
  })

  test('is refused as the rule before anybody has said it (G9)', () => {
    expect(() => requireDevices('refuse', { size: 0 })).toThrow('of no gateway devices are registered')
    expect(() => requireDevices('accept', { size: 0 })).not.toThrow()
    expect(() => requireDevices('refuse', { size: 1 })).not.toThrow()
  })
})

test.each(['*', 'line-3-*', 'a*', 'pump-7', 'x'.repeat(64), `${'x'.repeat(63)}*`])(
  '%s names devices',
  (pattern) => {
    expect(isDevicePattern(pattern)).toBe(true)
  },
)
test.each([
  '',
  '**',
  '*-3',
  'line-*-3',
  '-x',
  '-*',
  'line 3',
  'line/3',
  `${'x'.repeat(64)}*`,
  'x'.repeat(65),
])('"%s" names none', (pattern) => {
  expect(isDevicePattern(pattern)).toBe(false)
})

describe('a file of devices', () => {
  test('has one a line, with comments', () => {
    const text = '# line 3\r\nline-3-*\r\n\n  pump-7   # the old one\npump-7\n'
    expect(parseDeviceFile(text, 'fleet.txt')).toEqual(['line-3-*', 'pump-7'])
  })

  test.each([
    ['a\nb c\n*-x\n', 'fleet.txt has lines that name no devices: line 2: "b c", line 3: "*-x"'],
    ['-\n'.repeat(7), 'line 5: "-", and 2 more'],
    ['# nobody\n', 'fleet.txt names no device'],
  ])('%j is refused with its lines', (text, why) => {
    expect(() => parseDeviceFile(text, 'fleet.txt')).toThrow(why)
  })
})

/** A registry whose devices are these; tells which gateways’ devices were read. */
async function knowing(patternsOf: Map<string, string[]>) {
  const clock = new FakeClock()
  const versions = new Map([...patternsOf.keys()].map((name) => [name, 'v0']))
  const reads: string[] = []
  const told: object[] = []
  const query = async (text: string, values: [string, string]): Promise<object[]> => {
    if (text.includes('tidegate.gateways order'))
      return [...versions].map(([name, devicesVersion]) => ({
        name,
        state: 'active',
        sinceMs: 0,
        devicesVersion,
      }))
    if (!text.includes('tidegate.gateway_devices')) return []
    const [gateway, last] = values
    reads.push(gateway)
    const rest = (patternsOf.get(gateway) ?? []).toSorted().filter((pattern) => pattern > last)
    return rest.map((pattern) => ({ pattern })).slice(0, 10_000)
  }
  const log = { ...silentLog, error: (fields: object) => void told.push(fields) }
  const known = await startKnowing({
    database: { query, snapshot: (work: (q: unknown) => unknown) => work(query) } as unknown as Database,
    clock,
    log,
  })
  const change = async (name: string, patterns: string[]): Promise<void> => {
    patternsOf.set(name, patterns)
    versions.set(name, `v${reads.length}-${name}`)
    await clock.advance(5_000)
    await settled()
  }
  return { known, reads, told, change, clock }
}

describe('a cloud', () => {
  test('reads 100,000 devices once, and again those of the gateway that has others now (G9)', async () => {
    const many = Array.from({ length: 100_000 }, (_, index) => `sensor-${index}`)
    const { known, reads, change, clock } = await knowing(
      new Map([
        ['a', many],
        ['b', ['pump-1']],
      ]),
    )
    expect(known.devices.maySpeakFor('a', 'sensor-99999')).toBe(true)
    expect(known.devices.maySpeakFor('a', 'pump-1')).toBe(false)
    // Pages of 10,000, the last of them empty.
    expect(reads).toEqual([...Array.from({ length: 11 }, () => 'a'), 'b'])
    reads.length = 0
    for (let times = 0; times < 3; times++) await clock.advance(5_000)
    expect(reads).toEqual([])
    await change('b', ['pump-2'])
    expect(reads).toEqual(['b'])
    expect(known.devices.maySpeakFor('b', 'pump-2')).toBe(true)
    expect(known.devices.maySpeakFor('b', 'pump-1')).toBe(false)
    expect(known.devices.maySpeakFor('a', 'sensor-1')).toBe(true)
    await known.close()
  })

  test('does not believe that one gateway has lost its devices while others have theirs, however they come back (G9)', async () => {
    const { known, told, change } = await knowing(
      new Map([
        ['a', ['pump-1']],
        ['b', ['fan-1']],
      ]),
    )
    await change('a', [])
    await change('b', ['fan-1', 'fan-2'])
    expect(known.devices.maySpeakFor('a', 'victim')).toBe(false)
    expect(known.devices.maySpeakFor('b', 'fan-2')).toBe(true)
    expect(told).toMatchObject([{ code: 'GATEWAY_DEVICES', gateways: ['a'] }])
    await known.close()
  })

  test('does not believe that suddenly no gateway has devices any more, and tells of it (G9)', async () => {
    const { known, told, change } = await knowing(new Map([['a', ['pump-1']]]))
    await change('a', [])
    expect(known.devices.maySpeakFor('a', 'pump-2')).toBe(false)
    expect(told).toMatchObject([{ code: 'GATEWAY_DEVICES' }])
    await change('a', ['pump-2'])
    expect(known.devices.maySpeakFor('a', 'pump-2')).toBe(true)
    await known.close()
  })
})
