import { describe, expect, test } from 'vitest'
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

function looking(looks: (() => FoundSchemas | undefined)[]) {
  const clock = new FakeClock()
  const told: string[] = []
  const log = { ...silentLog, error: ({ code }: { code: string }) => told.push(code) } as unknown as Logger
  const schemas = open(log)
  const origin: SchemaOrigin = {
    kind: 'registry',
    read: async () => found(first),
    look: async () => looks.shift()?.(),
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

describe('what waits for schemas', () => {
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
