import type { Event } from '../../../src/contract/event.ts'
import type { SchemaFolder } from '../../../src/schemas/folder.ts'
import { versionNamed } from '../../../src/schemas/fitting.ts'
import type { Rule } from '../compatibility/goal.ts'
import type { Json } from '../language/json.ts'
import { compareCursors } from '../../history/reader.ts'
import { countOf } from '../../projections/built-in/shape-row.ts'
import type { StoredShapeRow } from '../../projections/built-in/shapes.ts'
import type { EventJudge } from './event-judge.ts'
import type { FailingEvent, GateProgress, LettersVerdict, StoredGroup, StoredVerdict } from './gate.ts'
import { schemaOf, takesAll } from './shape-schema.ts'
import type { Part, Standing, Stored, StoredText } from './stored.ts'
import { acceptedOf, type Target } from './targets.ts'

export interface TypeGateParts {
  folder: SchemaFolder
  judge: EventJudge
  stored: Stored
  standing: Standing
  /** As formats are read. */
  rules: Readonly<Record<string, Rule>>
  signal?: AbortSignal | undefined
  onProgress?: ((progress: GateProgress) => void) | undefined
}

const weekLengthMs = 7 * 86_400_000

/** Events that name no version of their type, as shapes have them. */
const unnamed = 0

interface Plan {
  part: Part
  /** Read from the beginning; else what came after the shapes. */
  isSuspect: boolean
}

/** Counts of one version that events name, as one target judges them. */
interface Count {
  stored: number
  failing: number
  first?: FailingEvent
}

/** All targets of one type at once: what has to be read is read once. */
export class TypeGate {
  readonly #parts: TypeGateParts
  readonly #type: string
  readonly #targets: readonly Target[]
  readonly #counts: ReadonlyMap<Target, Map<number, Count>>
  #progress: GateProgress

  constructor(parts: TypeGateParts, type: string, targets: readonly Target[]) {
    this.#parts = parts
    this.#type = type
    this.#targets = targets
    this.#counts = new Map(targets.map((target) => [target, new Map<number, Count>()]))
    this.#progress = { type, toRead: 0, done: 0, read: 0, failing: 0 }
  }

  async judge(): Promise<StoredVerdict[]> {
    const plans = await this.#plan()
    const suspect = plans.filter(({ isSuspect }) => isSuspect)
    this.#tell({ toRead: suspect.length })
    for (const plan of plans) {
      await this.#read(plan)
      if (plan.isSuspect) this.#tell({ done: this.#progress.done + 1 })
    }
    const there = new Set(plans.map(({ part }) => part.name)).size
    const read = [...new Set(suspect.map(({ part }) => part.name))]
    const letters = await this.#judgeLetters()
    return this.#targets.map((target) => ({
      type: this.#type,
      version: target.version,
      groups: this.#groupsOf(target),
      partitions: { there, read },
      letters: letters.get(target) as LettersVerdict,
    }))
  }

  #tell(more: Partial<GateProgress>): void {
    this.#progress = { ...this.#progress, ...more }
    this.#parts.onProgress?.(this.#progress)
  }

  /** Which parts of history may hold an event that fails. What shapes say of the others is counted. */
  async #plan(): Promise<Plan[]> {
    const { stored, standing, signal } = this.#parts
    const { parts, shapes } = standing
    if ('why' in shapes) return parts.map((part) => ({ part, isSuspect: true }))
    const rows = shapes.rows.filter(({ type }) => type === this.#type)
    const plans: Plan[] = []
    for (const part of parts) {
      signal?.throwIfAborted()
      const own = shapesIn(rows, part)
      const counted = own.reduce((sum, shape) => sum + countOf(topOf(shape)), 0)
      const there = await stored.count({ type: this.#type, part, upTo: shapes.upTo })
      // What came back of an archive, or never fitted, is in no shape; what was retired is in shapes alone.
      const isSuspect = there > 0 && (counted !== there || own.some((shape) => this.#isSuspect(shape)))
      if (there > 0 && !isSuspect) for (const shape of own) this.#countShape(topOf(shape))
      plans.push({ part, isSuspect })
    }
    return plans
  }

  #isSuspect(shape: readonly StoredShapeRow[]): boolean {
    const { folder, judge, rules } = this.#parts
    const { version: named } = topOf(shape)
    const asked = this.#targets.filter((target) => concerns(target, named))
    if (asked.length === 0) return false
    const { versions } = folder.types.get(this.#type) ?? { versions: new Map<number, { schema: unknown }>() }
    const others = [...versions.values()].map(({ schema }) => schema as Json)
    const schema = schemaOf(shape)
    return asked.some(({ version }) => {
      if (named !== unnamed && judge.isBroughtForward(this.#type, named, version)) return true
      return !takesAll(schema, versions.get(version)?.schema as Json, others, rules)
    })
  }

  #countShape(top: StoredShapeRow): void {
    for (const target of this.#targets)
      if (concerns(target, top.version)) this.#countOf(target, top.version).stored += countOf(top)
  }

  #countOf(target: Target, named: number): Count {
    const counts = this.#counts.get(target) as Map<number, Count>
    let count = counts.get(named)
    if (count === undefined) counts.set(named, (count = { stored: 0, failing: 0 }))
    return count
  }

  async #read({ part, isSuspect }: Plan): Promise<void> {
    const { stored, standing, signal } = this.#parts
    const { upTo, shapes } = standing
    const after = isSuspect || 'why' in shapes ? '' : shapes.upTo
    if (after !== '' && compareCursors(after, upTo) >= 0) return
    const versions = [...new Set(this.#targets.flatMap(({ version, reads }) => [version, ...reads]))]
    for await (const page of stored.read({ type: this.#type, part, after, upTo, versions })) {
      signal?.throwIfAborted()
      for (const text of page) this.#judgeText(text)
      this.#tell({})
    }
  }

  #judgeText({ text, ...place }: StoredText): void {
    const event = JSON.parse(text) as Event
    const named = versionNamed(event.type, event.dataschema) ?? unnamed
    this.#progress.read += 1
    for (const target of this.#targets) {
      if (!concerns(target, named)) continue
      const count = this.#countOf(target, named)
      count.stored += 1
      const fault = this.#parts.judge.ofStored(event, target.version)
      if (fault === undefined) continue
      count.failing += 1
      this.#progress.failing += 1
      count.first ??= { ...place, ...fault }
    }
  }

  #groupsOf(target: Target): StoredGroup[] {
    const counts = [...(this.#counts.get(target) as Map<number, Count>)]
    return counts
      .toSorted(([one], [other]) => one - other)
      .map(([named, count]) => {
        const version = named === unnamed ? undefined : named
        if (count.failing === 0) return { version, ...count, standing: 'fine' }
        if (version === undefined) return { version, ...count, standing: 'told' }
        const because = acceptedOf(this.#parts.folder, target, version)
        return because === undefined
          ? { version, ...count, standing: 'fails' }
          : { version, ...count, standing: 'accepted', because }
      })
  }

  async #judgeLetters(): Promise<Map<Target, LettersVerdict>> {
    const { stored, judge, signal } = this.#parts
    const none = { refused: 0, wouldPass: 0, others: 0, wouldFail: 0 }
    const verdicts = new Map(this.#targets.map((target) => [target, { ...none }]))
    for await (const page of stored.letters(this.#type)) {
      signal?.throwIfAborted()
      for (const { code, text } of page) {
        const event = eventIn(text)
        for (const [target, verdict] of verdicts) {
          const isFine = event !== undefined && judge.ofLetter(event, target.version) === undefined
          if (/^(?:SCHEMA|UPCAST)_/.test(code)) {
            verdict.refused += 1
            if (isFine) verdict.wouldPass += 1
          } else {
            verdict.others += 1
            if (event !== undefined && !isFine) verdict.wouldFail += 1
          }
        }
      }
    }
    return verdicts
  }
}

function concerns({ version, reads }: Target, named: number): boolean {
  return named === unnamed || named === version || reads.has(named)
}

/** By week and version, those of weeks that lie in a part. */
function shapesIn(rows: readonly StoredShapeRow[], { fromMs, untilMs }: Part): StoredShapeRow[][] {
  const shapes = new Map<string, StoredShapeRow[]>()
  for (const row of rows) {
    if (row.weekMs < fromMs || row.weekMs + weekLengthMs > untilMs) continue
    const key = `${row.weekMs} ${row.version}`
    const shape = shapes.get(key)
    if (shape) shape.push(row)
    else shapes.set(key, [row])
  }
  return [...shapes.values()]
}

function topOf(shape: readonly StoredShapeRow[]): StoredShapeRow {
  return shape.find(({ pointer }) => pointer === '') as StoredShapeRow
}

/** A letter may hold anything. */
function eventIn(text: string): Event | undefined {
  try {
    const event = JSON.parse(text) as Event | null
    return typeof event === 'object' && typeof event?.type === 'string' && 'data' in event ? event : undefined
  } catch {
    return undefined
  }
}
