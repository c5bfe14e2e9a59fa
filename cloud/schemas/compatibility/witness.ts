import { Maker } from '../documents/maker.ts'
import { textOfPattern } from '../documents/pattern-texts.ts'
import type { Random } from '../documents/random.ts'
import type { Case } from '../language/cases.ts'
import { evaluate } from '../language/evaluate.ts'
import { isMapping, type Json } from '../language/json.ts'
import { type Name, namesIn, schemasOfMember } from '../language/members.ts'
import type { Node } from '../language/node.ts'
import { OutOfWork, type Work } from '../language/work.ts'
import type { Place, Step } from './goal.ts'
import type { Gap } from './prove.ts'

const candidatesMax = 60
const liftsMax = 12

export interface Search {
  work: Work
  random: Random
  /** Whether the writer accepts a document and the reader refuses it for the gap: by the validators, whatever was thought until then. */
  confirms: (document: Json) => boolean
}

/** A document in which a gap shows; undefined: none was found. */
export function witnessOf(gap: Gap, { work, random, confirms }: Search): Json | undefined {
  const maker = new Maker(work, random)
  try {
    for (let tries = 0, lifts = 0; tries < candidatesMax && lifts < liftsMax; tries += 1) {
      const value = maker.makeOf(gap.one, [gap.part])
      if (value === undefined || !isIn(gap.one, value, work)) continue
      if (evaluate(gap.part, value, work) === true) continue
      lifts += 1
      const document = lifted(value, gap.place, { maker, work, random })
      if (document !== undefined && confirms(document)) return smaller(document, confirms)
    }
  } catch (error) {
    if (!(error instanceof OutOfWork)) throw error
  }
  return undefined
}

export function isIn({ nodes, nots }: Case, value: Json, work: Work): boolean {
  return (
    nodes.every((node) => evaluate(node, value, work) !== false) &&
    nots.every((node) => evaluate(node, value, work) !== true)
  )
}

interface Lift {
  maker: Maker
  work: Work
  random: Random
}

const triesMax = 8

/** A document with a value at its place. */
function lifted(value: Json, { way }: Place, lift: Lift): Json | undefined {
  let found: Json | undefined = value
  for (const { from, reader, step } of way.toReversed()) {
    found = onceAround(found, { from, reader, step }, lift)
    if (found === undefined) return undefined
  }
  return found
}

function onceAround(value: Json, { from, reader, step }: Place['way'][number], lift: Lift): Json | undefined {
  for (let tries = 0; tries < triesMax; tries += 1) {
    const made = around(value, from, reader, step, lift)
    if (made !== undefined && isIn(from, made, lift.work)) return made
  }
  return undefined
}

function around(
  value: Json,
  from: Case,
  reader: Node,
  step: Step,
  { maker, work, random }: Lift,
): Json | undefined {
  if (step.in === 'array')
    return maker.makeOf(from, [reader], { forced: { in: 'array', at: step.at, value } })
  if (step.in === 'names') {
    if (typeof value !== 'string') return undefined
    const schemas = from.nodes.flatMap((node) => schemasOfMember(node, value, 'possibly', work))
    const member = maker.make(schemas, [])
    return member === undefined
      ? undefined
      : maker.makeOf(from, [reader], { forced: { in: 'object', name: value, value: member } })
  }
  const name = nameFor(step.name, from, reader, { work, random })
  return name === undefined
    ? undefined
    : maker.makeOf(from, [reader], { forced: { in: 'object', name, value } })
}

const usualNames = ['other', 'x', 'A', '0', 'zz']

/** A name of a class: one that matches its patterns and no other, and that nobody has written down. */
function nameFor(
  name: Name,
  from: Case,
  reader: Node,
  { work, random }: Pick<Lift, 'work' | 'random'>,
): string | undefined {
  if (typeof name === 'string') return name
  const all = [...from.nodes, reader].map((node) => namesIn(node, work))
  const written = new Set(all.flatMap(({ names }) => [...names]))
  const patterns = new Set(all.flatMap(({ patterns }) => [...patterns]))
  const [first] = name
  for (let tries = 0; tries < 20; tries += 1) {
    const text = first === undefined ? random.of(usualNames) : textOfPattern(first, random)
    if (text === undefined || written.has(text)) continue
    if ([...patterns].every((source) => work.matches(source, text) === name.has(source))) return text
  }
  return undefined
}

const stepsMax = 300

/** The same witness with less in it: what is not needed to show the same is taken out, part by part, as long as there is work left. */
export function smaller(document: Json, confirms: (document: Json) => boolean): Json {
  let best = document
  try {
    for (let steps = 0; steps < stepsMax; steps += 1) {
      const less = confirmedLess(best, confirms, stepsMax - steps)
      if (less === undefined) return best
      best = less.document
      steps += less.steps
    }
  } catch (error) {
    if (!(error instanceof OutOfWork)) throw error
  }
  return best
}

function confirmedLess(
  document: Json,
  confirms: (document: Json) => boolean,
  stepsLeft: number,
): { document: Json; steps: number } | undefined {
  let steps = 0
  for (const less of lessThan(document)) {
    if (confirms(less)) return { document: less, steps }
    steps += 1
    if (steps >= stepsLeft) return undefined
  }
  return undefined
}

function* lessThan(value: Json): Generator<Json> {
  if (Array.isArray(value)) {
    const items = value as readonly Json[]
    if (items.length > 2) yield items.slice(0, items.length >> 1)
    for (const at of items.keys()) yield items.toSpliced(at, 1)
    for (const [at, item] of items.entries()) for (const less of lessThan(item)) yield items.with(at, less)
  } else if (isMapping(value)) {
    const entries = Object.entries(value)
    for (const at of entries.keys()) yield Object.fromEntries(entries.toSpliced(at, 1))
    for (const [at, [name, member]] of entries.entries())
      for (const less of lessThan(member)) yield Object.fromEntries(entries.with(at, [name, less]))
  } else if (typeof value === 'string' && value.length > 1) {
    yield value.slice(0, value.length >> 1)
    yield value.slice(0, -1)
    if (!/^a+$/.test(value)) yield 'a'.repeat(value.length)
  } else if (typeof value === 'number') {
    for (const simple of [0, 1, Math.trunc(value)])
      if (simple !== value && Math.abs(simple) <= Math.abs(value)) yield simple
  }
}
