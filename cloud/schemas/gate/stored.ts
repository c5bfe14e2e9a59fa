import type { ShapeKey, StoredShapeRow } from '../../projections/built-in/shapes.ts'

/** A part of history that is read by itself: a partition, or a span of time that has none of its own. */
export interface Part {
  /** Of its partition. */
  name: string
  /** Of the time at which events were recorded, ms since the Unix epoch; until is not in it. */
  fromMs: number
  untilMs: number
}

export interface StoredText {
  cursor: string
  position: number
  source: string
  id: string
  recordedTime: string
  /** The wire text. */
  text: string
}

export interface StoredLetter {
  code: string
  /** The event as a replay would send it. */
  text: string
}

/** Of how many events a shape was made. */
export type ShapeTop = ShapeKey & { events: number }

/** Which shapes of types there are, and how much of history is in them; or why there are none. */
export type StoredShapes =
  | {
      upTo: string
      tops: readonly ShapeTop[]
      /** Of the projection, if it is not live. */
      state?: string
    }
  | { why: string }

/** What there is, as of one moment. */
export interface Standing {
  /** History is read up to here. */
  upTo: string
  parts: readonly Part[]
  shapes: StoredShapes
}

export interface PartReading {
  type: string
  part: Part
  /** Cursors: events after the one, up to the other. */
  after: string
  upTo: string
  /** Events that name other versions of the type are passed over. */
  versions: readonly number[]
}

/** What is stored, to be looked at and not changed. Port; the adapter is stored-postgres.ts. */
export interface Stored {
  /** @throws TidegateError `PARTITION_UNINDEXED`: each page of a partition would be a reading of all of it */
  standing(types: readonly string[]): Promise<Standing>
  /** A shape, whole, as it is by now: it may be of more events than it was of when all was listed; none: of nothing. */
  shape(key: ShapeKey): Promise<readonly StoredShapeRow[]>
  /** Accepted events of a type. */
  count(reading: Omit<PartReading, 'versions' | 'after'>): Promise<number>
  /** In order, in pages that are bounded in events and bytes (G7). */
  read(reading: PartReading): AsyncIterable<readonly StoredText[]>
  /** Open ones of a type. */
  letters(type: string): AsyncIterable<readonly StoredLetter[]>
}
