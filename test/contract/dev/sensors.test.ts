import { expect, test } from 'vitest'
import climateAlarms from '../../../dev/climate-alarms.ts'
import { demoTypes, ordinarySensors, troubleSensors, type Sensor } from '../../../dev/fleet/sensors.ts'
import { loadSchemas } from '../../../src/schemas/folder.ts'

const schemas = loadSchemas(new URL('../../../schemas', import.meta.url).pathname)
const nowMs = Date.UTC(2026, 0, 1, 12)

function readings(sensor: Sensor, count: number) {
  return Array.from({ length: count }, (_, index) => sensor.read(nowMs + index * 1000, index * 1000)).flat()
}

function strip(payload: string): string {
  return payload.replaceAll(/[0-9a-f-]{36}/g, 'id')
}

function fleet(run: string, seed: number): Sensor[] {
  return ordinarySensors({ run, seed, count: 6, eventsPerSecond: 60 })
}

test('every reading of an ordinary sensor follows its schema', () => {
  const types = new Set<string>()
  for (const sensor of fleet('r', 7)) {
    for (const { topic, payload } of readings(sensor, 500)) {
      const plain = topic.startsWith('tele/')
      const type = plain ? demoTypes.power : topic.split('/')[3]
      const parsed = JSON.parse(payload) as { data?: unknown }
      expect(schemas.faults(type ?? '', 1, plain ? parsed : parsed.data)).toEqual([])
      types.add(type ?? '')
    }
  }
  expect([...types].toSorted()).toEqual(
    [demoTypes.alarm, demoTypes.climate, demoTypes.power, demoTypes.vibration].toSorted(),
  )
})

test('the same seed gives the same readings, and another run never the same event IDs', () => {
  const first = fleet('run-1', 7).flatMap((sensor) => readings(sensor, 50))
  const second = fleet('run-2', 7).flatMap((sensor) => readings(sensor, 50))
  const other = fleet('run-1', 8).flatMap((sensor) => readings(sensor, 50))
  expect(second.map(({ payload }) => strip(payload))).toEqual(first.map(({ payload }) => strip(payload)))
  expect(other.map(({ payload }) => strip(payload))).not.toEqual(first.map(({ payload }) => strip(payload)))
  const ids = [...first, ...second].map(({ payload }) => /[0-9a-f-]{36}/.exec(payload)?.[0])
  expect(new Set(ids).size).toBe(ids.length)
})

test('the fleet keeps its rate, spread over its sensors', () => {
  let due = 0
  for (const sensor of fleet('r', 7)) {
    for (; (sensor.dueMs ?? Infinity) < 10_000; due += 1) sensor.read(nowMs, sensor.dueMs ?? 0)
  }
  expect(due).toBe(600)
})

test('after a standstill a sensor catches up with ten seconds of it', () => {
  const [sensor] = fleet('r', 7)
  sensor?.read(nowMs, 3_600_000)
  expect(sensor?.dueMs).toBe(3_590_000)
})

test('each troublemaker does its misdeed, and no two rejected payloads are alike', () => {
  const sensors = troubleSensors({ run: 'r', seed: 7, periodMs: 2000 })
  const byTrouble = new Map(sensors.map((sensor) => [sensor.trouble, readings(sensor, 3)]))
  const [malformed] = byTrouble.get('malformed') ?? []
  expect(() => JSON.parse(malformed?.payload ?? '') as unknown).toThrow(SyntaxError)
  const [schema] = byTrouble.get('schema') ?? []
  const { data } = JSON.parse(schema?.payload ?? '') as { data: unknown }
  expect(schemas.faults(demoTypes.climate, 1, data)).toHaveLength(2)
  const [once, twice] = byTrouble.get('repeat') ?? []
  expect(twice).toEqual({ ...once, fate: 'repeat' })
  expect(byTrouble.get('oversize')?.[0]?.payload.length).toBeGreaterThan(300_000)
  expect(byTrouble.get('past')?.[0]?.payload).toContain('"time":"1970-01-01T')
  const [fahrenheit] = byTrouble.get('fahrenheit') ?? []
  const spoken = JSON.parse(fahrenheit?.payload ?? '') as { data: { temperature: number } }
  expect(schemas.faults(demoTypes.climate, 1, spoken.data)).toEqual([])
  expect(() => climateAlarms.handle({ partitionkey: 'it', data: spoken.data })).toThrow('is that Fahrenheit?')
  const rejected = [...byTrouble.values()].flat().filter(({ fate }) => fate === 'rejected')
  expect(new Set(rejected.map(({ payload }) => payload)).size).toBe(9)
})
