import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { deviceIds, parseSeries, readReplay, replaySensors } from '../../../dev/fleet/replay.ts'
import { deviceIdPattern } from '../../../src/contract/event.ts'

let folder: string
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'tidegate-replay-'))))
afterEach(() => rmSync(folder, { recursive: true }))

test('a row that is no reading is named by file and line, and skipped', () => {
  const faults: string[] = []
  const text =
    '\uFEFFtimestamp,value\r\n2013-07-04 00:00:00,69.5\r\nyesterday,1\n2013-07-04 01:00:00,\n\n2013-07-04T02:00:00Z,"-1e3"\n2013-07-04 03:00:00\n'
  const series = parseSeries(text, 'a.csv', 'a', (fault) => faults.push(fault))
  expect(series.values).toEqual([69.5, -1000])
  expect(series.times.map((time) => new Date(time).toISOString())).toEqual([
    '2013-07-04T00:00:00.000Z',
    '2013-07-04T02:00:00.000Z',
  ])
  expect(faults).toEqual([
    'a.csv:3: "yesterday" is not a time; the row is skipped',
    'a.csv:4: "" is not a number; the row is skipped',
    'a.csv:7: "" is not a number; the row is skipped',
  ])
})

test('a file with another header is one fault, not thousands', () => {
  const faults: string[] = []
  parseSeries('when,what\n1,2\n3,4\n', 'b.csv', 'b', (fault) => faults.push(fault))
  expect(faults).toHaveLength(1)
  expect(faults[0]).toContain('b.csv:1:')
})

test('every file name becomes a device ID of its own', () => {
  const ids = deviceIds(['Pump 1 (north).csv', 'Pump 1  (north).csv', '_.csv', `${'x'.repeat(100)}.csv`])
  for (const id of ids) expect(id).toMatch(deviceIdPattern)
  expect(new Set(ids).size).toBe(4)
  expect(ids[0]).toBe('Pump-1-north-')
})

test('series of different years start together, keep their own times, and end', () => {
  writeFileSync(
    join(folder, 'old.csv'),
    'timestamp,value\n2013-01-01 00:00:00,1\n2013-01-01 01:00:00,2\n2013-01-01 00:30:00,3\n',
  )
  writeFileSync(join(folder, 'new.csv'), 'timestamp,value\n2020-01-01 00:00:00,9\n')
  writeFileSync(join(folder, 'notes.txt'), 'not a series')
  const replay = readReplay(folder)
  expect(replay.spanMs).toBe(30 * 60_000)
  const [fresh, old] = replaySensors(replay, { run: 'r', speed: 3600 })
  expect(fresh?.deviceId).toBe('new')
  expect(fresh?.dueMs).toBe(0)
  expect(fresh?.read(0, 0)).toHaveLength(1)
  expect(fresh?.dueMs).toBeUndefined()

  const dues: (number | undefined)[] = []
  const times: unknown[] = []
  for (let dueMs = old?.dueMs; dueMs !== undefined; dueMs = old?.dueMs) {
    dues.push(dueMs)
    const [message] = old?.read(0, 0) ?? []
    times.push((JSON.parse(message?.payload ?? '{}') as { time: string }).time)
  }
  // A row out of order is published late, never in the past.
  expect(dues).toEqual([0, 1000, 1000])
  expect(times[0]).toBe('2013-01-01T00:00:00.000Z')
})

test('a folder without readings is a clear error', () => {
  expect(() => readReplay(folder)).toThrow('holds no readings')
  expect(() => readReplay(join(folder, 'nowhere'))).toThrow('cannot read')
})
