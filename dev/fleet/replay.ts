import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { codeOf, TidegateError } from '../../src/errors.ts'
import { limits } from '../../src/contract/event.ts'
import { eventId } from './random.ts'
import { demoTypes, type Sensor } from './sensors.ts'

/** One CSV file: a device and its readings, in the file's order. */
export interface Series {
  deviceId: string
  file: string
  /** Ms since the Unix epoch. */
  times: number[]
  values: number[]
}

export interface Replay {
  series: Series[]
  /** Rows that are no readings, `file:line: why`; they are skipped. */
  faults: string[]
  /** Of the longest series, ms of its own time. */
  spanMs: number
}

/**
 * Reads every `*.csv` of a folder: a header `timestamp,value` in any order, times in RFC 3339 or
 * `2013-07-04 00:00:00` (taken as UTC).
 * @throws TidegateError `REPLAY_UNREADABLE` | `REPLAY_EMPTY`
 */
export function readReplay(folder: string): Replay {
  const faults: string[] = []
  const names = listCsv(folder)
  const ids = deviceIds(names)
  const series = names
    .map((name, index) =>
      parseSeries(readText(join(folder, name)), name, ids[index] ?? name, (fault) => faults.push(fault)),
    )
    .filter((one) => one.times.length > 0)
  if (series.length === 0) {
    throw new TidegateError('REPLAY_EMPTY', {
      message: `${folder} holds no readings${faults[0] === undefined ? ': no file there ends in .csv' : `; the first fault: ${faults[0]}`}`,
      retryable: false,
      hint: 'give a folder of CSV files with the header "timestamp,value", one file per device',
    })
  }
  const spanMs = Math.max(...series.map(({ times }) => (times.at(-1) ?? 0) - (times[0] ?? 0)))
  return { series, faults, spanMs }
}

/** Reads one file's text. Rows that are no readings are reported, never guessed at. */
export function parseSeries(
  text: string,
  file: string,
  deviceId: string,
  report: (fault: string) => void,
): Series {
  const series: Series = { deviceId, file, times: [], values: [] }
  const [header = '', ...rows] = text.replace(/^\uFEFF/, '').split(/\r?\n/)
  const columns = cells(header).map((name) => name.toLowerCase())
  const timeColumn = columns.indexOf('timestamp')
  const valueColumn = columns.indexOf('value')
  if (timeColumn === -1 || valueColumn === -1) {
    report(`${file}:1: the header must name the columns "timestamp" and "value", and is ${quoted(header)}`)
    return series
  }
  for (const [index, row] of rows.entries()) {
    if (row.trim() === '') continue
    const fields = cells(row)
    const timeMs = parseTime(fields[timeColumn] ?? '')
    const value = parseValue(fields[valueColumn] ?? '')
    if (timeMs !== undefined && value !== undefined) {
      series.times.push(timeMs)
      series.values.push(value)
    } else {
      const [what, field] =
        timeMs === undefined ? ['a time', fields[timeColumn]] : ['a number', fields[valueColumn]]
      report(`${file}:${index + 2}: ${quoted(field ?? '')} is not ${what}; the row is skipped`)
    }
  }
  return series
}

/**
 * Devices that publish the series again, `speed` times as fast. Each series starts with the run, whatever its
 * own first time is: series of different years play side by side.
 */
export function replaySensors(replay: Replay, options: { run: string; speed: number }): Sensor[] {
  return replay.series.map(({ deviceId, times, values }) => {
    const firstMs = times[0] ?? 0
    let n = 0
    let dueMs = 0
    return {
      deviceId,
      get dueMs() {
        const timeMs = times[n]
        if (timeMs === undefined) return undefined
        dueMs = Math.max(dueMs, (timeMs - firstMs) / options.speed)
        return dueMs
      },
      read() {
        const time = new Date(times[n] ?? 0).toISOString()
        const value = values[n]
        n += 1
        const id = eventId(options.run, deviceId, n)
        const type = demoTypes.series
        const event = { specversion: '1.0', id, source: `/devices/${deviceId}`, type, time, data: { value } }
        return [
          {
            topic: `devices/${deviceId}/events/${type}`,
            payload: JSON.stringify(event),
            fate: 'stored' as const,
            n,
          },
        ]
      },
    }
  })
}

/** File names made into device IDs: what an ID may not hold becomes a dash; equal ones are numbered. */
export function deviceIds(fileNames: readonly string[]): string[] {
  const taken = new Set<string>()
  return fileNames.map((name) => {
    const stem = name
      .replace(/\.csv$/i, '')
      .replaceAll(/[^A-Za-z0-9._-]+/g, '-')
      .replace(/^[^A-Za-z0-9]+/, '')
    const base = (stem || 'series').slice(0, limits.deviceIdLengthMax - 4)
    let id = base
    for (let copy = 2; taken.has(id); copy += 1) id = `${base}-${copy}`
    taken.add(id)
    return id
  })
}

function parseTime(text: string): number | undefined {
  if (!/^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?$/i.test(text))
    return undefined
  const zoned = /(Z|[+-]\d{2}:?\d{2})$/i.test(text) ? text : `${text}Z`
  const timeMs = Date.parse(zoned.replace(' ', 'T'))
  return Number.isNaN(timeMs) ? undefined : timeMs
}

function parseValue(text: string): number | undefined {
  const value = Number(text)
  return text !== '' && Number.isFinite(value) ? value : undefined
}

function cells(row: string): string[] {
  return row.split(',').map((cell) => cell.trim().replace(/^"(.*)"$/, '$1'))
}

function quoted(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text)
}

function listCsv(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => /\.csv$/i.test(name))
      .toSorted()
  } catch (cause) {
    throw unreadable(folder, cause)
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw unreadable(file, cause)
  }
}

function unreadable(path: string, cause: unknown): TidegateError {
  return new TidegateError('REPLAY_UNREADABLE', {
    message: `cannot read ${path} (${codeOf(cause)})`,
    retryable: false,
    hint: 'check the folder given with --replay and its permissions',
    cause,
  })
}
