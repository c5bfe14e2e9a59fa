import { createFormatTests } from '../../../src/schemas/formats.ts'
import {
  escaped,
  partsOf,
  type ShapeFormat,
  shapeFormats,
  type ShapeKind,
  shapeKinds,
  type ShapeRow,
  type ShapeScalar,
  unescaped,
} from './shape-row.ts'

const formatTests = createFormatTests()
/** Longer texts are of no format here. */
const formattedLengthMax = 200

/** What does not fit is told by `isOpen`, and by `values` that are null (G7). */
export const placesMax = 200
const pointerLengthMax = 200
const depthMax = 12
const valuesMax = 50
const valueLengthMax = 64
/** Of all values of a shape together, in characters. */
const valuesLengthMax = 65_536
/** What is no text counts as so many. */
const scalarLength = 8

class Place {
  readonly pointer: string
  readonly depth: number
  readonly counts: Record<ShapeKind, number> = {
    nulls: 0,
    booleans: 0,
    integers: 0,
    fractions: 0,
    strings: 0,
    arrays: 0,
    objects: 0,
  }
  least = Infinity
  greatest = -Infinity
  leastLength = Infinity
  greatestLength = -Infinity
  leastItems = Infinity
  greatestItems = -Infinity
  formats: readonly ShapeFormat[] = shapeFormats
  values: Set<ShapeScalar> | null = new Set()
  isOpen = false
  isStrange = false
  first = ''
  last = ''
  isTouched = false
  items: Place | undefined
  readonly members = new Map<string, Place>()

  constructor(pointer: string, depth: number) {
    this.pointer = pointer
    this.depth = depth
  }
}

/**
 * The shape of data that came one after the other: what there was, by place. The same data in the same order comes to the same, wherever it is put
 * away as rows in between.
 */
export class Shape {
  readonly #root = new Place('', 0)
  #pointers = 1
  #valuesLength = 0

  static of(rows: readonly ShapeRow[]): Shape {
    const shape = new Shape()
    // A place comes after those that it is in.
    for (const row of rows.toSorted((one, other) => one.pointer.length - other.pointer.length))
      shape.#restore(row)
    return shape
  }

  add(data: unknown, cursor: string): void {
    this.#add(this.#root, data, cursor)
  }

  /** Places in which something came since the shape was made of rows, or of nothing. */
  changed(): ShapeRow[] {
    const rows: ShapeRow[] = []
    const left = [this.#root]
    for (let place = left.pop(); place !== undefined; place = left.pop()) {
      if (!place.isTouched) continue
      rows.push(rowOf(place))
      if (place.items) left.push(place.items)
      left.push(...place.members.values())
    }
    return rows
  }

  #add(place: Place, value: unknown, cursor: string): void {
    if (place.first === '') place.first = cursor
    place.last = cursor
    place.isTouched = true
    if (typeof value === 'object' && value !== null) {
      if (Array.isArray(value)) this.#addArray(place, value, cursor)
      else this.#addObject(place, value, cursor)
    } else this.#addScalar(place, value as ShapeScalar)
  }

  #addArray(place: Place, items: readonly unknown[], cursor: string): void {
    place.counts.arrays += 1
    place.leastItems = Math.min(place.leastItems, items.length)
    place.greatestItems = Math.max(place.greatestItems, items.length)
    if (items.length === 0) return
    place.items ??= this.#below(place, '*')
    if (place.items === undefined) place.isOpen = true
    else for (const item of items) this.#add(place.items, item, cursor)
  }

  #addObject(place: Place, members: object, cursor: string): void {
    place.counts.objects += 1
    for (const [name, member] of Object.entries(members)) {
      const known = place.members.get(name) ?? this.#member(place, name)
      if (known === undefined) place.isOpen = true
      else this.#add(known, member, cursor)
    }
  }

  #addScalar(place: Place, value: ShapeScalar): void {
    count(place, value)
    const { values } = place
    if (values === null || values.has(value)) return
    const length = lengthKept(value)
    if (values.size < valuesMax && isKeepable(value) && this.#valuesLength + length <= valuesLengthMax) {
      values.add(value)
      this.#valuesLength += length
    } else {
      // Its room is for other places.
      for (const one of values) this.#valuesLength -= lengthKept(one)
      place.values = null
    }
  }

  #member(place: Place, name: string): Place | undefined {
    if (!isListable(name)) return undefined
    const below = this.#below(place, escaped(name))
    if (below) place.members.set(name, below)
    return below
  }

  #below(place: Place, part: string): Place | undefined {
    const pointer = `${place.pointer}/${part}`
    if (this.#pointers >= placesMax || place.depth >= depthMax || pointer.length > pointerLengthMax)
      return undefined
    this.#pointers += 1
    return new Place(pointer, place.depth + 1)
  }

  #restore(row: ShapeRow): void {
    const place = this.#placeAt(row.pointer)
    for (const kind of shapeKinds) place.counts[kind] = row[kind]
    place.least = row.least ?? Infinity
    place.greatest = row.greatest ?? -Infinity
    place.leastLength = row.leastLength ?? Infinity
    place.greatestLength = row.greatestLength ?? -Infinity
    place.leastItems = row.leastItems ?? Infinity
    place.greatestItems = row.greatestItems ?? -Infinity
    place.formats = row.strings === 0 ? shapeFormats : row.formats
    place.values = row.values && new Set(row.values)
    for (const value of row.values ?? []) this.#valuesLength += lengthKept(value)
    place.isOpen = row.isOpen
    place.isStrange = row.isStrange
    place.first = row.first
    place.last = row.last
  }

  #placeAt(pointer: string): Place {
    let place = this.#root
    for (const part of partsOf(pointer)) {
      const at = `${place.pointer}/${part}`
      const known = part === '*' ? place.items : place.members.get(unescaped(part))
      const next: Place = known ?? new Place(at, place.depth + 1)
      if (known === undefined) {
        this.#pointers += 1
        if (part === '*') place.items = next
        else place.members.set(unescaped(part), next)
      }
      place = next
    }
    return place
  }
}

function count(place: Place, value: ShapeScalar): void {
  if (value === null) place.counts.nulls += 1
  else if (typeof value === 'boolean') place.counts.booleans += 1
  else if (typeof value === 'number') addNumber(place, value)
  else addText(place, value)
}

function lengthKept(value: ShapeScalar): number {
  return typeof value === 'string' ? value.length : scalarLength
}

function addNumber(place: Place, value: number): void {
  if (!Number.isFinite(value)) place.isStrange = true
  place.counts[value % 1 === 0 ? 'integers' : 'fractions'] += 1
  place.least = Math.min(place.least, value)
  place.greatest = Math.max(place.greatest, value)
}

function addText(place: Place, value: string): void {
  place.counts.strings += 1
  const length = lengthOf(value)
  place.leastLength = Math.min(place.leastLength, length)
  place.greatestLength = Math.max(place.greatestLength, length)
  if (place.formats.length > 0) place.formats = place.formats.filter((format) => isOf(format, value))
}

function isOf(format: ShapeFormat, text: string): boolean {
  return text.length <= formattedLengthMax && formatTests.get(format)?.(text) === true
}

/** JSON Schema counts code points. */
function lengthOf(text: string): number {
  if (!/[\ud800-\udbff]/.test(text)) return text.length
  let length = 0
  for (const _ of text) length += 1
  return length
}

/** PostgreSQL's text and jsonb have no U+0000 and no half of a surrogate pair. */
function isStorable(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed()
}

function isKeepable(value: ShapeScalar): boolean {
  if (typeof value === 'number') return Number.isFinite(value)
  return typeof value !== 'string' || (value.length <= valueLengthMax && isStorable(value))
}

/** `__proto__` is no name that an object of ours could be given by writing it. */
function isListable(name: string): boolean {
  return name !== '__proto__' && isStorable(name)
}

function has(bound: number, isThere: boolean): number | null {
  return isThere ? bound : null
}

function rowOf(place: Place): ShapeRow {
  const { pointer, counts, formats, values, isOpen, isStrange, first, last } = place
  const isNumber = counts.integers + counts.fractions > 0
  return {
    pointer,
    ...counts,
    least: has(place.least, isNumber),
    greatest: has(place.greatest, isNumber),
    leastLength: has(place.leastLength, counts.strings > 0),
    greatestLength: has(place.greatestLength, counts.strings > 0),
    leastItems: has(place.leastItems, counts.arrays > 0),
    greatestItems: has(place.greatestItems, counts.arrays > 0),
    formats: counts.strings === 0 ? [] : formats,
    values: values && [...values],
    isOpen,
    isStrange,
    first,
    last,
  }
}

/** How many places data has, as far as they count. */
export function placesIn(data: unknown): number {
  let places = 0
  const left: unknown[] = [data]
  while (left.length > 0 && places < placesMax) {
    const value = left.pop()
    places += 1
    if (typeof value !== 'object' || value === null) continue
    // Items are of one place: the first stands for all.
    if (Array.isArray(value)) left.push(value[0])
    else left.push(...Object.values(value))
  }
  return places
}
