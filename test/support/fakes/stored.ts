import { countOf } from '../../../cloud/projections/built-in/shape-row.ts'
import { Shape } from '../../../cloud/projections/built-in/shape.ts'
import { type StoredShapeRow, weekOf } from '../../../cloud/projections/built-in/shapes.ts'
import type {
  Part,
  PartReading,
  ShapeTop,
  Stored,
  StoredLetter,
  StoredText,
} from '../../../cloud/schemas/gate/stored.ts'
import { versionNamed } from '../../../src/schemas/fitting.ts'

export interface FakeEvent {
  data: unknown
  dataschema?: string
  recordedMs: number
}

export interface FakeStored extends Stored {
  /** Names of parts that were read from the beginning, in order. */
  readonly read: (reading: PartReading) => AsyncIterable<readonly StoredText[]>
  readonly readParts: string[]
}

const weekMs = 7 * 86_400_000
const type = 'com.acme.climate'
const cursorOf = (at: number): string => `1.1.${at + 1}`
const placeOf = (cursor: string): number => Number(cursor.split('.')[2] ?? 0)

/** History in memory: one part a week, and shapes of the first so many events; none: there are no shapes. */
export function fakeStored(
  events: readonly FakeEvent[],
  { shaped, letters = [] }: { shaped?: number; letters?: readonly StoredLetter[] } = {},
): FakeStored {
  const weeks = [...new Set(events.map(({ recordedMs }) => weekOf(recordedMs)))].toSorted((a, b) => a - b)
  const parts: Part[] = weeks.map((fromMs) => ({ name: `week-${fromMs}`, fromMs, untilMs: fromMs + weekMs }))
  const readParts: string[] = []
  const within = (part: Part, after: number, upTo: number) =>
    events
      .map((event, at) => ({ event, at }))
      .filter(
        ({ event, at }) =>
          event.recordedMs >= part.fromMs &&
          event.recordedMs < part.untilMs &&
          at + 1 > after &&
          at + 1 <= upTo,
      )
  return {
    readParts,
    standing: () =>
      Promise.resolve({
        upTo: cursorOf(events.length - 1),
        parts,
        shapes:
          shaped === undefined
            ? { why: 'there are none' }
            : { upTo: cursorOf(shaped - 1), tops: topsOf(shapesOf(events.slice(0, shaped))) },
      }),
    shape: (key) =>
      Promise.resolve(
        shapesOf(events.slice(0, shaped)).filter(
          ({ version, weekMs: startMs }) => version === key.version && startMs === key.weekMs,
        ),
      ),
    count: ({ part, upTo }) => Promise.resolve(within(part, 0, placeOf(upTo)).length),
    async *read({ part, after, upTo, versions }) {
      if (after === '') readParts.push(part.name)
      const wanted = within(part, placeOf(after), placeOf(upTo)).filter(({ event: { dataschema } }) => {
        const named = versionNamed(type, dataschema)
        return named === undefined || versions.includes(named)
      })
      const found = wanted.map(({ event, at }) => ({
        cursor: cursorOf(at),
        position: at + 1,
        source: '/devices/sensor-1',
        id: `id-${at}`,
        recordedTime: new Date(event.recordedMs).toISOString(),
        text: JSON.stringify({ type, dataschema: event.dataschema, data: event.data }),
      }))
      for (let at = 0; at < found.length; at += 3) yield await Promise.resolve(found.slice(at, at + 3))
    },
    async *letters() {
      yield await Promise.resolve(letters)
    },
  }
}

function topsOf(rows: readonly StoredShapeRow[]): ShapeTop[] {
  return rows
    .filter(({ pointer }) => pointer === '')
    .map((row) => ({ type, version: row.version, weekMs: row.weekMs, events: countOf(row) }))
}

function shapesOf(events: readonly FakeEvent[]): StoredShapeRow[] {
  const found = new Map<string, { version: number; weekMs: number; shape: Shape }>()
  for (const [at, { data, dataschema, recordedMs }] of events.entries()) {
    const version = versionNamed(type, dataschema) ?? 0
    const startMs = weekOf(recordedMs)
    const key = `${version} ${startMs}`
    const known = found.get(key) ?? { version, weekMs: startMs, shape: new Shape() }
    known.shape.add(data, cursorOf(at))
    found.set(key, known)
  }
  return [...found.values()].flatMap(({ version, weekMs: startMs, shape }) =>
    shape.changed().map((row) => ({ ...row, type, version, weekMs: startMs }) as StoredShapeRow),
  )
}
