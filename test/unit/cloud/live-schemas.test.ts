import { describe, expect, test, vi } from 'vitest'
import type { Database } from '../../../cloud/database/database-postgres.ts'
import { goOnBehind } from '../../../cloud/failures.ts'
import type { Start } from '../../../cloud/startup.ts'
import { createScope } from '../../../src/lifecycle.ts'
import { startReleasing } from '../../../cloud/parking/awaited.ts'
import type { ParkingIn } from '../../../cloud/parking/parking.ts'
import type { FoundSchemas, SchemaOrigin } from '../../../cloud/reading/origin.ts'
import { lookEveryMs, startReloading } from '../../../cloud/reading/reloading.ts'
import { createSchemas, requireWanted, type Schemas } from '../../../cloud/reading/schemas.ts'
import { emptyState, planOf, sourceOf } from '../../../cloud/registry/registry.ts'
import type { Storage } from '../../../cloud/database/storage.ts'
import type { Logger } from '../../../src/log.ts'
import { silentLog } from '../../../src/log.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'
import { turnsDuring } from '../../support/turns.ts'

const type = 'com.acme.climate'
const requiring = (...required: string[]): string => JSON.stringify({ type: 'object', required })

function found(texts: Readonly<Record<string, string>>, revision = 1): FoundSchemas {
  const files = new Map(Object.entries(texts).map(([path, text]) => [path, Buffer.from(text)]))
  const { state } = planOf(emptyState, files)
  return { source: sourceOf({ ...state, revision }), digest: state.digest, revision }
}

const first = { [`${type}/1.json`]: requiring('t') }
const second = {
  ...first,
  [`${type}/2.json`]: requiring('c'),
  [`${type}/upcast/1-2.yaml`]: '- rename: { path: /t, to: c }\n',
}

const open = (log: Logger = silentLog): Schemas =>
  createSchemas({ origin: 'registry', unchecked: 'accept', formats: 'checked', log })

const eventOf = (version: number, data: object) =>
  new Ledger().next('device-1', { dataschema: `${type}/${version}`, data }).event

describe('schemas that are in use', () => {
  test('change all at once: whoever keeps a part of them has that of now', async () => {
    const schemas = open()
    await schemas.take(found(first))
    const { check, readAs, readStoredAs, registry, upcastersTo } = schemas
    const event = eventOf(1, { t: 20 })
    expect(() => readAs(event, 2)).toThrow(expect.objectContaining({ code: 'SCHEMA_UNKNOWN' }) as Error)
    let changes = 0
    schemas.onChange(() => {
      changes += 1
      expect([registry.latest(type), readAs(event, 2).data]).toEqual([2, { c: 20 }])
    })
    expect(await schemas.take(found(second, 2))).toBe(true)
    expect(await schemas.take(found(second, 2))).toBe(false)
    expect(changes).toBe(1)
    expect(readStoredAs(event, 2).data).toEqual({ c: 20 })
    expect(check(eventOf(2, {}))?.code).toBe('SCHEMA_VIOLATION')
    expect(upcastersTo(type, 2)).toHaveLength(1)
    expect([registry.types, registry.versions(type), registry.has(type, 2)]).toEqual([[type], [1, 2], true])
    expect(schemas.inUse).toMatchObject({ origin: 'registry', revision: 2, types: 1, fault: undefined })
  })

  test('are used as before where others lack what is in use or asked for, or have a fault in a file', async () => {
    const schemas = open()
    requireWanted([{ name: 'consumer alerts', versions: { [type]: 2 }, wants: () => true }], schemas)
    await expect(schemas.take(found(first))).rejects.toMatchObject({ code: 'SCHEMA_WANTED' })
    await schemas.take(found(second))
    for (const texts of [first, {}, { ...second, [`${type}/3.json`]: '{"type": 7}' }])
      await expect(schemas.take(found(texts))).rejects.toMatchObject({ code: 'SCHEMA_FOLDER' })
    expect(schemas.registry.versions(type)).toEqual([1, 2])
    expect(schemas.inUse.revision).toBe(1)
  })

  test('are taken type by type, with a turn for others after each; what is as before is not made again', async () => {
    const many = Object.fromEntries(
      Array.from({ length: 50 }, (_, index) => [`com.acme.t${index}/1.json`, requiring('t')]),
    )
    const schemas = open()
    const { turns } = await turnsDuring(() => schemas.take(found(many)))
    expect(turns).toBeGreaterThanOrEqual(100)
    const others = { ...many, 'com.acme.t7/2.json': requiring('t', 'c') }
    const next = found(others, 2)
    const parsed = vi.spyOn(JSON, 'parse')
    const again = await turnsDuring(() => schemas.take(next))
    expect([parsed.mock.calls.length, again.turns >= 100]).toEqual([2, true])
    parsed.mockRestore()
    expect([schemas.registry.latest('com.acme.t7'), schemas.registry.types.length]).toEqual([2, 50])
  })

  test('take a step for absent whose code is not here, and wait where it is needed', async () => {
    const schemas = open()
    const { [`${type}/upcast/1-2.yaml`]: _, ...rest } = second
    const cases = { [`${type}/upcast/1-2.cases.json`]: '[{ "from": { "t": 1 }, "to": { "c": 1 } }]' }
    await schemas.take(found({ ...rest, ...cases, [`${type}/upcast/1-2.js`]: 'export default 7' }))
    expect(schemas.inUse.absent).toEqual([`${type}/1-2`])
    expect(() => schemas.readAs(eventOf(1, { t: 1 }), 2)).toThrow(
      expect.objectContaining({ code: 'SCHEMA_UNKNOWN', retryable: true }) as Error,
    )
    expect(schemas.readAs(eventOf(2, { c: 1 }), 2).data).toEqual({ c: 1 })
  })
})

function looking(looks: ((inAnyCase?: boolean) => FoundSchemas | undefined)[]) {
  const clock = new FakeClock()
  const told: string[] = []
  const log = { ...silentLog, error: ({ code }: { code: string }) => told.push(code) } as unknown as Logger
  const schemas = open(log)
  const origin: SchemaOrigin = {
    kind: 'registry',
    read: async () => found(first),
    look: async (inAnyCase) => looks.shift()?.(inAnyCase),
  }
  const running = startReloading({ schemas, origin, clock, log })
  const next = async (): Promise<void> => {
    await clock.advance(lookEveryMs)
    await settled()
  }
  return { schemas, told, running, next }
}
const fails = (code: string) => (): never => {
  throw Object.assign(new Error('away'), { code })
}

describe('looking for others', () => {
  test('tells once what cannot be used or read, keeps what is in use, and takes what is good again', async () => {
    const bad = (): FoundSchemas => found({ ...first, [`${type}/2.json`]: '{"type": 7}' }, 2)
    const { schemas, told, running, next } = looking([
      bad,
      bad,
      fails('DATABASE_UNREACHABLE'),
      fails('DATABASE_UNREACHABLE'),
      () => undefined,
      () => found(second, 3),
      fails('DATABASE_UNREACHABLE'),
      () => undefined,
    ])
    await schemas.take(found(first))
    await next()
    await next()
    expect(told).toEqual(['SCHEMA_FOLDER'])
    expect(schemas.inUse).toMatchObject({ revision: 1, fault: { code: 'SCHEMA_FOLDER' } })
    await next()
    await next()
    expect(told).toEqual(['SCHEMA_FOLDER', 'DATABASE_UNREACHABLE'])
    await next()
    expect(schemas.inUse).toMatchObject({ revision: 1, fault: { code: 'SCHEMA_FOLDER' } })
    await next()
    expect(schemas.inUse).toMatchObject({ revision: 3, fault: undefined })
    await next()
    expect(schemas.inUse).toMatchObject({ revision: 3, fault: { code: 'DATABASE_UNREACHABLE' } })
    await next()
    expect(schemas.inUse).toMatchObject({ revision: 3, fault: undefined })
    await running.close()
    await running.close()
  })
})

describe('what could not be used', () => {
  test('for a fault that passes is tried again as it is, every minute', async () => {
    const asked: (boolean | undefined)[] = []
    const later = (inAnyCase?: boolean): FoundSchemas | undefined => {
      asked.push(inAnyCase)
      return inAnyCase === true ? found(second, 2) : undefined
    }
    const unread = (): FoundSchemas => {
      const { source, ...rest } = found(second, 2)
      return { ...rest, source: { ...source, faults: [`${type}/2.json: EIO`] } }
    }
    const { schemas, running, next } = looking([unread, ...Array.from({ length: 13 }, () => later)])
    await schemas.take(found(first))
    for (let look = 0; look < 14; look++) await next()
    expect(asked.indexOf(true)).toBe(11)
    expect(asked.at(-1)).toBe(false)
    expect(schemas.inUse).toMatchObject({ revision: 2, fault: undefined })
    await running.close()
  })
})

describe('what waits for schemas', () => {
  test('is released when the cloud begins to listen: others may have come before', async () => {
    let asked = 0
    const database = {
      connect() {
        asked += 1
        return Promise.reject(new Error('down'))
      },
    } as unknown as Database
    const scope = createScope()
    const start = { scope, clock: new FakeClock(), log: silentLog } as unknown as Start
    goOnBehind(start, open(), { database, groups: [{ name: 'alerts' }] })
    await settled()
    expect(asked).toBe(1)
    await scope.close()
  })

  test('is released by code in each group, again later for what was in hand, and when the database is back', async () => {
    const clock = new FakeClock()
    const asked: string[] = []
    let isDown = true
    const parkingIn = (() => ({
      release(group: string, { code = '', retrying }: { code?: string; retrying?: boolean }) {
        if (isDown) throw new Error('down')
        asked.push(`${group} ${code} ${retrying}`)
        return Promise.resolve({ devices: 1, working: 0 })
      },
    })) as unknown as ParkingIn
    const storage = { transaction: async (work: (tx: unknown) => unknown) => work({}) } as unknown as Storage
    const releasing = startReleasing({ storage, parkingIn, groups: () => ['alerts'], clock, log: silentLog })
    releasing.release()
    await settled()
    expect(asked).toEqual([])
    isDown = false
    await clock.advance(5_000)
    await settled()
    const once = ['alerts SCHEMA_UNKNOWN true', 'alerts SCHEMA_NEWER true']
    expect(asked).toEqual(once)
    await clock.advance(15_000)
    await settled()
    expect(asked).toEqual([...once, ...once])
    await clock.advance(60_000)
    expect(asked).toHaveLength(4)
    releasing.release()
    await releasing.close()
  })
})
