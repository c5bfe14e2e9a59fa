import type { Format } from '../../../src/schemas/formats.ts'

/** Kinds of values, each with a count: whole numbers and others are two, as JSON Schema tells them apart. */
export const shapeKinds = [
  'nulls',
  'booleans',
  'integers',
  'fractions',
  'strings',
  'arrays',
  'objects',
] as const
export type ShapeKind = (typeof shapeKinds)[number]

export type ShapeScalar = null | boolean | number | string

/** What there was at one place of the data. Exact, but for what `isOpen` and `isStrange` say; each bound is null where there was no such value. */
export interface ShapeRow extends Record<ShapeKind, number> {
  /** JSON Pointer (RFC 6901). A part `*` is any item of an array; a member of that name is written `~2`. */
  pointer: string
  least: number | null
  greatest: number | null
  /** Of texts, in code points. */
  leastLength: number | null
  greatestLength: number | null
  leastItems: number | null
  greatestItems: number | null
  /** The formats of JSON Schema, of those that are looked for, that every text was of. */
  formats: readonly ShapeFormat[]
  /** Every value that is neither array nor object, in the order in which they came; null: there were too many, or too long ones. */
  values: readonly ShapeScalar[] | null
  /** There was more below this place than is listed. */
  isOpen: boolean
  /** There was a number that is none to a validator, as 1e400 is: no bound says anything of it. */
  isStrange: boolean
  /** Cursors of the events in which it came first and last. */
  first: string
  last: string
}

/** Those that hardly a text is of by chance: looking for them ends with the first that is something else. */
export const shapeFormats = [
  'date-time',
  'date',
  'time',
  'duration',
  'uuid',
  'ipv4',
  'ipv6',
  'email',
  'uri',
] as const satisfies readonly Format[]
export type ShapeFormat = (typeof shapeFormats)[number]
/** A member's name as a part of a pointer. */
export function escaped(name: string): string {
  return name === '*' ? '~2' : name.replaceAll('~', '~0').replaceAll('/', '~1')
}

export function unescaped(part: string): string {
  return part === '~2' ? '*' : part.replaceAll('~1', '/').replaceAll('~0', '~')
}

export function partsOf(pointer: string): string[] {
  return pointer.split('/').slice(1)
}

/** The parts of a pointer of a shape: members by name, `undefined` for items. */
export function wayOf(pointer: string): (string | undefined)[] {
  return partsOf(pointer).map((part) => (part === '*' ? undefined : unescaped(part)))
}

/** How often something was at a place: of the top, of how many events it is. */
export function countOf(row: ShapeRow): number {
  return shapeKinds.reduce((sum, kind) => sum + row[kind], 0)
}
