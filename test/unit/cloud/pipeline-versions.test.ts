import { expect, test } from 'vitest'
import { defineConsumer } from '../../../cloud/pipeline/consumer.ts'
import { configured } from '../../../cloud/pipeline/definition.ts'
import type { PipelineOptions } from '../../../cloud/pipeline/pipeline.ts'
import { schemaCheck } from '../../../cloud/reading/schema-check.ts'
import type { SchemaRegistry } from '../../../src/schemas/registry.ts'
import type { Upcasts } from '../../../src/schemas/upcast/chain.ts'
import { createReadAs } from '../../../src/schemas/upcast/read-as.ts'
import { applySteps, type Step } from '../../../src/schemas/upcast/steps.ts'
import { Ledger, posted } from '../../support/cloud/cloud-events.ts'
import { failure, partitions, setUp } from '../../support/cloud/test-pipeline.ts'
import { settled } from '../../support/fakes/clock.ts'
import { registryOf } from '../../support/fakes/schemas.ts'

const type = 'com.acme.climate'
const needs = (name: string) => (data: unknown) =>
  Object.hasOwn(data as object, name) ? [] : [`data: must have ${name}`]
const known = registryOf({ [type]: { 1: needs('temp'), 2: needs('temperature') } })
const later = registryOf({ [type]: { 1: needs('temp'), 2: needs('temperature'), 3: needs('celsius') } })
const steps: readonly Step[] = [{ kind: 'move', from: ['temp'], to: ['temperature'] }]
const upcasts: Upcasts = {
  find: (_, from, to) =>
    from === 1 ? { from, to, steps, apply: (data) => applySteps(data, steps) } : undefined,
}

const checks = (registry: SchemaRegistry) => ({
  checkSchema: schemaCheck(registry, 'accept', () => {}),
  readAs: createReadAs(registry, upcasts),
})

/** A group that asks for version 2, and one instance of it after the other. */
function reading(more: object = {}) {
  const handed: unknown[][] = []
  const consumer = defineConsumer({
    group: 'writer',
    events: { [type]: 2 },
    onFailure: 'park',
    async handle({ partitionkey, data, dataschema }, { tx }) {
      handed.push([partitionkey, data, dataschema])
      await tx.query('insert', [partitionkey])
    },
    ...more,
  })
  const world = setUp(consumer)
  const ledger = new Ledger()
  return {
    ...world,
    handed,
    start: (registry: SchemaRegistry, schemaWaitMs = 3_600_000, parking?: PipelineOptions['parking']) => {
      const options = { ...world.options('a'), ...(parking && { parking }) }
      const configuredNow = configured(consumer, {
        ladderMs: [5_000, 30_000],
        timeoutMs: 30_000,
        schemaWaitMs,
      })
      return world.startWith({ ...options, ...checks(registry), consumer: configuredNow })
    },
    post: (device: string, version: number, data: object) => {
      const event = ledger.next(device, { type, data, dataschema: `${type}/${version}` })
      world.broker.post(posted(event, partitions))
      return event
    },
  }
}

test('a handler is handed every version as the one that it asks for; a dead letter has the text as it came', async () => {
  const { start, post, handed, storage } = reading()
  start(known)
  post('d', 1, { temp: 20 })
  post('d', 2, { temperature: 21 })
  const odd = post('d', 1, { temp: 22, temperature: 'taken' })
  const failing = reading({
    handle() {
      throw failure(false)
    },
  })
  failing.start(known)
  const failed = failing.post('d', 1, { temp: 20 })
  await settled()
  expect(handed).toEqual([
    ['d', { temperature: 20 }, `${type}/2`],
    ['d', { temperature: 21 }, `${type}/2`],
    ['d', odd.event.data, `${type}/2`],
  ])
  expect(storage.dead()).toEqual([])
  expect(failing.storage.dead().map(({ body }) => body.toString())).toEqual([failed.text])
})

test('a version that nobody here knows waits, with its device and no other, until the schema is there: no letter (G5, G6)', async () => {
  const { start, post, handed, storage, clock } = reading()
  const { pipeline } = start(known)
  post('newest', 3, { celsius: 1 })
  post('newest', 2, { temperature: 2 })
  post('old', 1, { temp: 3 })
  await settled()
  await clock.advance(1_800_000)
  expect(handed).toEqual([['old', { temperature: 3 }, `${type}/2`]])
  expect(pipeline.parked).toMatchObject({ retrying: 1, events: 2 })
  expect(storage.dead()).toEqual([])
  const closing = pipeline.close(0)
  await clock.advance(1)
  await closing
  // The one who brings the schema says as well what is to be read of it: nothing between the two changes what it means.
  start(registryOf({ [type]: { 1: needs('temp'), 2: () => [], 3: needs('celsius') } }))
  await clock.advance(1_000_000)
  expect(handed.slice(1)).toEqual([
    ['newest', { celsius: 1 }, `${type}/2`],
    ['newest', { temperature: 2 }, `${type}/2`],
  ])
  expect(storage.dead()).toEqual([])
})

test('what has waited for a schema has all its attempts when the schema is there (G5, G6)', async () => {
  const tries: string[] = []
  const { start, post, storage, clock } = reading({
    handle({ partitionkey }: { partitionkey: string }) {
      tries.push(partitionkey)
      if (tries.length < 3) throw failure(true)
    },
  })
  const { pipeline } = start(known)
  post('newest', 3, { celsius: 1 })
  await settled()
  await clock.advance(1_800_000)
  expect(tries).toEqual([])
  const closing = pipeline.close(0)
  await clock.advance(1)
  await closing
  start(registryOf({ [type]: { 1: needs('temp'), 2: () => [], 3: needs('celsius') } }))
  await clock.advance(2_000_000)
  expect(tries).toHaveLength(3)
  expect(storage.dead()).toEqual([])
})

test('a group whose devices wait for a schema until there is no room waits itself, and the broker keeps what comes: no letter, in order (G5, G6, G7)', async () => {
  const { start, post, handed, storage, clock, broker } = reading()
  const bounds = { concurrency: 2, devicesMax: 4, eventsMax: 8, eventsMaxPerDevice: 8 }
  const { pipeline, deliveries } = start(known, 3_600_000, bounds)
  const sent: number[] = []
  for (let at = 0; at < 40; at++) {
    sent.push(at)
    post(`newest${at % 5}`, 3, { celsius: at })
    await settled()
    await clock.advance(10_000)
  }
  expect(storage.dead()).toEqual([])
  expect(pipeline.heldBy?.code).toBe('SCHEMA_AWAITED')
  expect(pipeline.parked.events).toBeLessThanOrEqual(8)
  expect(broker.depth).toBeGreaterThan(20)
  const closing = pipeline.close(0)
  await clock.advance(1)
  await closing
  await deliveries.close()
  const later2 = registryOf({ [type]: { 1: needs('temp'), 2: () => [], 3: needs('celsius') } })
  start(later2, 3_600_000, bounds)
  for (let second = 0; second < 600; second++) await clock.advance(1_000)
  expect(storage.dead()).toEqual([])
  const seen = handed.map(([device, data]) => [device, (data as { celsius: number }).celsius] as const)
  for (let device = 0; device < 5; device++)
    expect(seen.filter(([name]) => name === `newest${device}`).map(([, at]) => at)).toEqual(
      sent.filter((at) => at % 5 === device),
    )
})

test('an instance that could not count yet what waits makes no letter for want of room: the broker keeps what comes (G5)', async () => {
  const { start, post, storage, clock, broker } = reading()
  const bounds = { concurrency: 1, devicesMax: 2, eventsMax: 2, eventsMaxPerDevice: 100 }
  const first = start(known, 3_600_000, bounds)
  post('newest', 3, { celsius: 0 })
  await settled()
  await clock.advance(1_000)
  const closing = first.pipeline.close(0)
  await clock.advance(1)
  await closing
  await first.deliveries.close()
  storage.down = true
  const { pipeline } = start(known, 3_600_000, bounds)
  await settled()
  for (let at = 1; at < 20; at++) post('newest', 3, { celsius: at })
  storage.down = false
  for (let second = 0; second < 30; second++) await clock.advance(1_000)
  expect(storage.dead()).toEqual([])
  expect(pipeline.heldBy?.code).toBe('SCHEMA_AWAITED')
  expect(broker.depth).toBeGreaterThan(10)
})

test('a device that waits for a schema, and then catches up, has a tenth of the room, whatever another device has (G7)', async () => {
  const { start, post, handed, storage, clock } = reading()
  const bounds = { concurrency: 1, devicesMax: 4, eventsMax: 200, eventsMaxPerDevice: 2 }
  const { pipeline } = start(known, 3_600_000, bounds)
  for (let at = 0; at < 21; at++) post('newest', 3, { celsius: at })
  await settled()
  await clock.advance(100)
  expect(storage.dead()).toMatchObject([{ code: 'PARKING_FULL' }])
  const closing = pipeline.close(0)
  await clock.advance(1)
  await closing
  start(registryOf({ [type]: { 1: needs('temp'), 2: () => [], 3: needs('celsius') } }), 3_600_000, bounds)
  await clock.advance(600_000)
  expect(handed).toHaveLength(20)
})

test('what waits for a schema becomes a letter when its time is over, and so does at once what came as early behind it (G5)', async () => {
  const { start, post, storage, clock, handed } = reading()
  start(later, 600_000)
  post('newest', 3, { celsius: 1 })
  post('newest', 3, { celsius: 2 })
  post('newest', 2, { temperature: 3 })
  await settled()
  await clock.advance(590_000)
  expect(storage.dead()).toEqual([])
  await clock.advance(200_000)
  expect(storage.dead()).toMatchObject([{ code: 'SCHEMA_NEWER' }, { code: 'SCHEMA_NEWER' }])
  expect(handed).toEqual([['newest', { temperature: 3 }, `${type}/2`]])
})

test('a consumer of batches that records faults is handed what cannot be brought forward, as it came and with why', async () => {
  const entries: unknown[] = []
  const { start, post, storage } = reading({
    handle: undefined,
    handleBatch(batch: { event: { data: unknown; dataschema: string }; fault?: { code: string } }[]) {
      for (const { event, fault } of batch) entries.push([event.data, event.dataschema, fault?.code])
    },
    recordsFaults: true,
  })
  start(registryOf({ [type]: { 1: () => [], 2: needs('temperature') } }))
  post('d', 1, { temp: 20 })
  post('d', 1, { neither: 1 })
  await settled()
  expect(entries).toEqual([
    [{ temperature: 20 }, `${type}/2`, undefined],
    [{ neither: 1 }, `${type}/1`, 'UPCAST_FAILED'],
  ])
  expect(storage.dead()).toEqual([])
})

test('a consumer that asks for types alone is handed a version that nobody here knows as it was recorded', async () => {
  const { start, post, handed } = reading({ events: undefined, types: ['#'] })
  start(known)
  post('newest', 3, { celsius: 1 })
  await settled()
  expect(handed).toEqual([['newest', { celsius: 1 }, `${type}/3`]])
})
