import { createHash } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createDatabase as poolOf, type Database } from '../../../cloud/database/database-postgres.ts'
import type { Storage } from '../../../cloud/database/storage.ts'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import type { ParkedEvent, Parking, ParkingIn, Trial } from '../../../cloud/parking/parking.ts'
import { postgresParking } from '../../../cloud/parking/parking-postgres.ts'
import { migrated } from '../../support/cloud/cloud.ts'
import { gate } from '../../support/cloud/test-pipeline.ts'
import { createFakeStorage, fakeParking } from '../../support/fakes/storage.ts'
import { createDatabase } from '../../support/servers.ts'

const never = new AbortController().signal
const [mine, another] = ['11111111-1111-4111-8111-111111111111', '22222222-2222-4222-8222-222222222222']
const after = { recovering: false, hung: false }
const trial: Trial = {
  state: 'retrying',
  attempt: 2,
  delayMs: 0,
  code: 'SENSOR_ODD',
  message: 'it \0 is odd',
}

function eventOf(device: string, name: string): ParkedEvent {
  return {
    device,
    key: createHash('sha256').update(name).digest(),
    body: Buffer.from(`{"id":"${name}"}`),
    properties: { messageId: name, timestamp: 7 },
    headers: { 'tidegate-attempt': 1, strange: '\0 \ud800 ü', 'tidegate-letter': 5 },
    routingKey: `00.com.\0acme`,
    queue: 'g.00.v2',
    publisher: undefined,
    arrivedAtMs: 1_735_689_600_123,
  }
}

interface Place {
  storage: Storage
  parkingIn: ParkingIn
  /** Moves the clock of whoever waits for the end of a claim. */
  expire(): Promise<void>
  /** Some moments go by. */
  pass(): Promise<void>
}

describe.each(['in memory', 'in PostgreSQL'])('the parking %s', (kind) => {
  let database: Database | undefined
  let place: Place
  let groups = 0
  let group = ''

  beforeAll(async () => {
    if (kind === 'in memory') {
      let nowMs = 0
      place = {
        storage: createFakeStorage({ nowMs: () => nowMs }),
        parkingIn: fakeParking,
        expire: () => Promise.resolve(void (nowMs += 60_000)),
        pass: () => Promise.resolve(void (nowMs += 10)),
      }
      return
    }
    const opened = (database = poolOf({ url: await createDatabase(), poolMax: 4, applicationName: 'test' }))
    await migrated(opened)
    place = {
      storage: postgresStorage(opened),
      parkingIn: postgresParking,
      pass: () => Promise.resolve(),
      async expire() {
        await opened.query(
          `update tidegate.parked_devices set next_at = next_at - interval '1 min',
          claimed_until = claimed_until - interval '1 min' where consumer_group = $1`,
          [group],
        )
      },
    }
  })
  beforeEach(() => (group = `g${++groups}`))
  afterAll(() => database?.close())

  const within = <T>(work: (parking: Parking) => Promise<T>): Promise<T> =>
    place.storage.transaction((tx) => work(place.parkingIn(tx)), never)

  async function parked(device: string, ...names: string[]): Promise<void> {
    await within(async (parking) => {
      await parking.park(group, device, trial)
      await parking.add(
        group,
        names.map((name) => eventOf(device, `${group} ${name}`)),
      )
    })
  }

  test('keeps what waits as it came, in its order, and each once (G5, G6)', async () => {
    await parked('d', 'b', 'a')
    const again = ['a', 'c', 'c'].map((name) => eventOf('d', `${group} ${name}`))
    await within((parking) => parking.add(group, again))
    expect(await within((parking) => parking.parked(group, ['d']))).toEqual(
      new Map([['d', { events: 3, overflowed: false, failing: true, waitsOnly: false }]]),
    )
    const seen: string[] = []
    for (const { n, ...event } of await within((parking) => parking.heads(group, 'd', 10))) {
      const { routingKey, ...rest } = eventOf('d', String(event.properties.messageId))
      expect(event).toMatchObject({ ...rest, headers: { 'tidegate-attempt': 1, 'tidegate-letter': 5 } })
      expect(event.routingKey.replaceAll('\0', '')).toBe(routingKey.replaceAll('\0', ''))
      seen.push(String(event.properties.messageId).slice(group.length + 1))
      expect(await within((parking) => parking.remove(group, 'd', [n]))).toBe(1)
      expect(await within((parking) => parking.remove(group, 'd', [n]))).toBe(0)
    }
    expect(seen).toEqual(['b', 'a', 'c'])
    expect(await within((parking) => parking.occupancy(group))).toMatchObject({ retrying: 1, events: 0 })
  })

  test('gives a hundred that wait in the order in which they came (G6)', async () => {
    const names = Array.from({ length: 130 }, (_, index) => `event ${index}`)
    await parked('d', ...names)
    const heads = await within((parking) => parking.heads(group, 'd', 125))
    expect(heads.map(({ properties }) => String(properties.messageId).slice(group.length + 1))).toEqual(
      names.slice(0, 125),
    )
  })

  test('says which devices are parked, and parks each once', async () => {
    await parked('d', 'a')
    await within((parking) => parking.park(group, 'd', trial))
    expect(await within((parking) => parking.parked(group, ['c', 'd', 'e']))).toEqual(
      new Map([['d', { events: 1, overflowed: false, failing: true, waitsOnly: false }]]),
    )
    expect(await within((parking) => parking.parked('other', ['d']))).toEqual(new Map())
    const { oldestMs, ...counts } = await within((parking) => parking.occupancy(group))
    expect(counts).toEqual({ retrying: 1, held: 0, awaiting: 0, events: 1 })
    expect(oldestMs).toBeGreaterThanOrEqual(0)
  })

  test('says which devices fail: not those that are held, nor those whose first event was not tried', async () => {
    await parked('fails', 'a')
    await parked('goes on', 'b', 'c')
    await within((parking) => parking.moveOn(group, 'goes on', after))
    await within((parking) => parking.park(group, 'held', { ...trial, state: 'held' }))
    const found = await within((parking) => parking.parked(group, ['fails', 'goes on', 'held']))
    expect([...found].filter(([, { failing }]) => failing).map(([device]) => device)).toEqual(['fails'])
  })

  test('remembers that there was no room for one of a device until that is let go, whoever adds meanwhile (G7)', async () => {
    await parked('d', 'a', 'b')
    await within((parking) => parking.overflow(group, ['d']))
    await within((parking) => parking.add(group, [eventOf('d', `${group} c`)]))
    expect(await within((parking) => parking.parked(group, ['d']))).toEqual(
      new Map([['d', { events: 3, overflowed: true, failing: true, waitsOnly: false }]]),
    )
    await within(async (parking) => {
      await parking.claim(group, mine, 30_000, 'all')
    })
    const heads = await within((parking) => parking.heads(group, 'd', 10))
    await within((parking) =>
      parking.remove(
        group,
        'd',
        heads.map(({ n }) => n),
      ),
    )
    await within(async (parking) => {
      expect(await parking.lock(group, 'd', mine)).toBe(true)
      await parking.unpark(group, 'd')
    })
    await parked('d', 'd')
    expect(await within((parking) => parking.parked(group, ['d']))).toEqual(
      new Map([['d', { events: 1, overflowed: false, failing: true, waitsOnly: false }]]),
    )
  })

  const claim = (among: 'all' | 'first'): Promise<string | undefined> =>
    within(async (parking) => (await parking.claim(group, mine, 30_000, among))?.device)

  test('keeps a claim for those in their first tries that did not hang, and serves the one that is due for longest', async () => {
    const those: readonly (readonly [string, Partial<Trial>])[] = [
      ['late', { attempt: 3 }],
      ['hung', { code: 'HANDLER_TIMEOUT' }],
      ['once', {}],
    ]
    for (const [device, more] of those)
      await within((parking) => parking.park(group, device, { ...trial, ...more }))
    await place.pass()
    expect(await claim('first')).toBe('once')
    expect(await claim('first')).toBeUndefined()
    expect(await claim('all')).toBe('late')
    expect(await claim('all')).toBe('hung')
  })

  test('what is done with is behind: the next has not been tried', async () => {
    await parked('d', 'a', 'b')
    const claimed = await within((parking) => parking.claim(group, mine, 30_000, 'all'))
    expect(claimed).toMatchObject({ recovering: false, code: 'SENSOR_ODD' })
    await within(async (parking) => {
      await parking.keep(group, 'd', mine, 30_000)
      await parking.moveOn(group, 'd', { recovering: true, hung: false })
      await parking.giveUp(group, 'd', mine, 0)
    })
    await place.pass()
    expect(await within((parking) => parking.claim(group, another, 30_000, 'first'))).toMatchObject({
      recovering: true,
      code: '',
    })
  })

  test('whoever has it in hand sees what operators said meanwhile; what is skipped can be claimed alone, and is forgotten when it is done with', async () => {
    await parked('d', 'a', 'b')
    const said = async (): Promise<number | undefined> =>
      within((parking) => parking.keep(group, 'd', mine, 30_000))
    const claimed = await within((parking) => parking.claim(group, mine, 30_000, 'all'))
    expect(await said()).toBe(claimed?.deeds)
    const [first] = await within((parking) => parking.heads(group, 'd', 10))
    await within((parking) => parking.release(group, { device: 'd' }))
    expect(await said()).toBe(1)
    await within((parking) => parking.giveUp(group, 'd', mine, 0))
    expect(await within((parking) => parking.claim(group, mine, 30_000, 'skipped'))).toBeUndefined()
    await within((parking) => parking.skip(group, { code: 'SENSOR_ODD' }, 'first'))
    await place.pass()
    expect(await within((parking) => parking.claim(group, mine, 30_000, 'skipped'))).toMatchObject({
      skip: first?.n,
      deeds: 2,
    })
    await within(async (parking) => {
      await parking.remove(group, 'd', [first?.n ?? ''])
      await parking.moveOn(group, 'd', after)
    })
    await within((parking) => parking.giveUp(group, 'd', mine, 0))
    await place.pass()
    expect(await within((parking) => parking.claim(group, mine, 30_000, 'skipped'))).toBeUndefined()
  })

  test('what is skipped is remembered while nothing waits: whoever lets the device go may be one of those who only skip', async () => {
    await parked('d', 'a')
    await within((parking) => parking.skip(group, {}, 'all'))
    await within((parking) => parking.claim(group, mine, 30_000, 'skipped'))
    const [head] = await within((parking) => parking.heads(group, 'd', 10))
    await within(async (parking) => {
      await parking.remove(group, 'd', [head?.n ?? ''])
      await parking.moveOn(group, 'd', after)
      await parking.giveUp(group, 'd', mine, 0)
    })
    await place.pass()
    expect(await within((parking) => parking.claim(group, mine, 30_000, 'skipped'))).toMatchObject({
      device: 'd',
    })
  })

  test('one that has hung is none of the first tries until it is let go, whatever is done with', async () => {
    const hangs: readonly ((parking: Parking) => Promise<void>)[] = [
      (parking) => parking.giveUp(group, 'd', mine, 0, true),
      async (parking) => {
        await parking.moveOn(group, 'd', { ...after, hung: true })
        await parking.giveUp(group, 'd', mine, 0)
      },
      (parking) => parking.setBack(group, 'd', '1', { ...trial, attempt: 1, code: 'HANDLER_TIMEOUT' }, {}),
    ]
    for (const [index, hang] of hangs.entries()) {
      group = `${group} ${index}`
      await parked('d', 'a')
      await within((parking) => parking.claim(group, mine, 30_000, 'all'))
      await within(hang)
      await within((parking) => parking.moveOn(group, 'd', after))
      await place.pass()
      expect(await claim('first')).toBeUndefined()
      expect(await within((parking) => parking.claim(group, mine, 30_000, 'all'))).toMatchObject({
        hung: true,
      })
    }
  })

  test('of two who park a device at once both see it parked (G6)', async () => {
    const first = gate()
    const begun = gate()
    const one = within(async (parking) => {
      await parking.park(group, 'd', trial)
      begun.release()
      await first.promise
    })
    await begun.promise
    const other = within((parking) => parking.park(group, 'd', trial))
    first.release()
    await Promise.all([one, other])
    expect((await within((parking) => parking.parked(group, ['d']))).size).toBe(1)
  })

  test('a device that is due is claimed by one, who has it until it is set back, given up, or silent for too long', async () => {
    await parked('d', 'a')
    expect(await within((parking) => parking.claim(group, mine, 30_000, 'all'))).toMatchObject({
      device: 'd',
    })
    expect(await within((parking) => parking.claim(group, another, 30_000, 'all'))).toBeUndefined()
    expect(await within((parking) => parking.keep(group, 'd', another, 30_000))).toBeUndefined()
    expect(await within((parking) => parking.keep(group, 'd', mine, 30_000))).toBe(0)
    await place.expire()
    expect(await within((parking) => parking.claim(group, another, 30_000, 'all'))).toMatchObject({
      device: 'd',
    })
    expect(await within((parking) => parking.keep(group, 'd', mine, 30_000))).toBeUndefined()
    await within((parking) => parking.giveUp(group, 'd', mine, 0))
    expect(await within((parking) => parking.claim(group, mine, 30_000, 'all'))).toBeUndefined()
    await within((parking) => parking.giveUp(group, 'd', another, 0))
    expect(await within((parking) => parking.claim(group, mine, 30_000, 'all'))).toMatchObject({
      device: 'd',
    })
  })

  test('while one has it in a transaction its events can be added to, but nobody claims it (G6)', async () => {
    await parked('d', 'a')
    await within((parking) => parking.claim(group, mine, 30_000, 'all'))
    await place.expire()
    const over = gate()
    const begun = gate()
    const working = within(async (parking) => {
      expect(await parking.keep(group, 'd', mine, 30_000)).toBe(0)
      const heads = await parking.heads(group, 'd', 1)
      expect(await parking.remove(group, 'd', [heads[0]?.n ?? ''])).toBe(1)
      begun.release()
      await over.promise
    })
    await begun.promise
    expect(await within((parking) => parking.claim(group, another, 30_000, 'all'))).toBeUndefined()
    expect(await within((parking) => parking.release(group, { device: 'd' }))).toEqual({
      devices: 0,
      working: 1,
    })
    const diverted = within(async (parking) => {
      const devices = await parking.parked(group, ['d'])
      await parking.add(group, [eventOf('d', `${group} b`)])
      return devices.has('d')
    })
    expect(await diverted).toBe(true)
    over.release()
    await working
    expect(await within((parking) => parking.parked(group, ['d']))).toEqual(
      new Map([['d', { events: 1, overflowed: false, failing: true, waitsOnly: false }]]),
    )
  })

  test('nobody lets it go while somebody adds to it, and nobody waits for that (G6)', async () => {
    await parked('d')
    await within((parking) => parking.claim(group, mine, 30_000, 'all'))
    const over = gate()
    const begun = gate()
    const adding = within(async (parking) => {
      await parking.parked(group, ['d'])
      begun.release()
      await over.promise
      await parking.add(group, [eventOf('d', `${group} late`)])
    })
    await begun.promise
    expect(await within((parking) => parking.lock(group, 'd', mine))).toBe(false)
    over.release()
    await adding
    const heads = await within(async (parking) => {
      expect(await parking.lock(group, 'd', mine)).toBe(true)
      return parking.heads(group, 'd', 10)
    })
    expect(heads.map(({ properties }) => properties.messageId)).toEqual([`${group} late`])
  })

  test('whoever parks a device that is let go meanwhile parks it anew (G6)', async () => {
    await parked('d')
    await within((parking) => parking.claim(group, mine, 30_000, 'all'))
    const over = gate()
    const begun = gate()
    const leaving = within(async (parking) => {
      expect(await parking.lock(group, 'd', mine)).toBe(true)
      begun.release()
      await over.promise
      await parking.unpark(group, 'd')
    })
    await begun.promise
    const parking = within((it) => it.park(group, 'd', trial))
    over.release()
    await leaving
    await parking
    expect((await within((it) => it.parked(group, ['d']))).size).toBe(1)
  })

  test('what is set back is tried later, or held until somebody releases or skips it', async () => {
    await parked('d', 'a')
    const headers = { 'tidegate-attempt': 3 }
    async function setBack(next: Partial<Trial>): Promise<string> {
      await within((parking) => parking.claim(group, mine, 30_000, 'all'))
      const n = (await within((parking) => parking.heads(group, 'd', 1)))[0]?.n ?? ''
      await within((parking) => parking.setBack(group, 'd', n, { ...trial, ...next }, headers))
      return n
    }
    await setBack({ delayMs: 30_000 })
    expect((await within((parking) => parking.heads(group, 'd', 1)))[0]?.headers).toEqual(headers)
    expect(await within((parking) => parking.claim(group, mine, 30_000, 'all'))).toBeUndefined()
    await place.expire()
    const n = await setBack({ state: 'held' })
    await place.expire()
    expect(await within((parking) => parking.claim(group, mine, 30_000, 'all'))).toBeUndefined()
    expect(await within((parking) => parking.occupancy(group))).toMatchObject({
      retrying: 0,
      held: 1,
      events: 1,
    })
    expect(await within((parking) => parking.skip(group, { device: 'd' }, 'first'))).toMatchObject({
      devices: 1,
    })
    expect(await within((parking) => parking.claim(group, mine, 30_000, 'all'))).toMatchObject({
      device: 'd',
      skip: n,
    })
    expect(await within((parking) => parking.release(group, { device: 'nobody' }))).toEqual({
      devices: 0,
      working: 0,
    })
  })

  test('nothing of a transaction that fails is left', async () => {
    const failing = within(async (parking) => {
      await parking.park(group, 'd', trial)
      await parking.add(group, [eventOf('d', `${group} a`)])
      throw new Error('odd')
    })
    await expect(failing).rejects.toThrow('odd')
    expect(await within((parking) => parking.parked(group, ['d']))).toEqual(new Map())
  })
})
