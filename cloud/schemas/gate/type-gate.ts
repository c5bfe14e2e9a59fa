import type { Event } from '../../../src/contract/event.ts'
import type { SchemaFolder } from '../../../src/schemas/folder.ts'
import { versionNamed } from '../../../src/schemas/fitting.ts'
import type { Rule } from '../compatibility/goal.ts'
import type { Json } from '../language/json.ts'
import { compareCursors } from '../../history/reader.ts'
import { countOf } from '../../projections/built-in/shape-row.ts'
import type { EventJudge } from './event-judge.ts'
import type { FailingEvent, GateProgress, LettersVerdict, StoredGroup, StoredVerdict } from './gate.ts'
import { schemaOf, takesAll } from './shape-schema.ts'
import type { Part, ShapeTop, Standing, Stored, StoredText } from './stored.ts'
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
  readonly #tails = new Set<string>()
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
    const work = plans.filter((plan) => plan.isSuspect || this.#isBehind())
    this.#tell({ toRead: work.length })
    for (const plan of work) {
      await this.#read(plan)
      this.#tell({ done: this.#progress.done + 1 })
    }
    const there = new Set(plans.map(({ part }) => part.name)).size
    const read = [...new Set(suspect.map(({ part }) => part.name))]
    const letters = await this.#judgeLetters()
    return this.#targets.map((target) => ({
      type: this.#type,
      version: target.version,
      groups: this.#groupsOf(target),
      partitions: { there, read, tails: [...this.#tails].filter((name) => !read.includes(name)) },
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
    const tops = shapes.tops.filter(({ type }) => type === this.#type)
    const plans: Plan[] = []
    for (const part of parts) {
      signal?.throwIfAborted()
      const own = topsIn(tops, part)
      const counted = own.reduce((sum, { events }) => sum + events, 0)
      const there = await stored.count({ type: this.#type, part, upTo: shapes.upTo })
      // What came back of an archive, or never fitted, is in no shape; what was retired is in shapes alone.
      const isSuspect = there > 0 && (counted !== there || (await this.#isAnySuspect(own)))
      if (there > 0 && !isSuspect) for (const top of own) this.#countShape(top)
      plans.push({ part, isSuspect })
    }
    return plans
  }

  /** One shape is in memory at a time (G7). */
  async #isAnySuspect(tops: readonly ShapeTop[]): Promise<boolean> {
    for (const top of tops) {
      this.#parts.signal?.throwIfAborted()
      if (await this.#isSuspect(top)) return true
    }
    return false
  }

  async #isSuspect(top: ShapeTop): Promise<boolean> {
    const { folder, judge, rules, stored } = this.#parts
    const { version: named } = top
    const asked = this.#targets.filter((target) => concerns(target, named))
    if (asked.length === 0) return false
    const { versions } = folder.types.get(this.#type) ?? { versions: new Map<number, { schema: unknown }>() }
    const others = [...versions.values()].map(({ schema }) => schema as Json)
    const way = asked.flatMap(({ version }) => judge.wayOf(this.#type, named, version))
    if (named !== unnamed && way.some(({ upcast }) => upcast !== undefined)) return true
    const shape = await stored.shape(top)
    const now = shape.find(({ pointer }) => pointer === '')
    // Meanwhile it may have grown: then it says less. It is in the making anew if it is of fewer.
    if (now === undefined || countOf(now) < top.events) return true
    const schema = schemaOf(shape)
    return asked.some(
      ({ version }) => !takesAll(schema, versions.get(version)?.schema as Json, others, rules),
    )
  }

  #countShape({ version, events }: ShapeTop): void {
    for (const target of this.#targets)
      if (concerns(target, version)) this.#countOf(target, version).stored += events
  }

  /** There are events that are in no shape yet. */
  #isBehind(): boolean {
    const { upTo, shapes } = this.#parts.standing
    return !('why' in shapes) && compareCursors(shapes.upTo, upTo) < 0
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
    const versions = [...new Set(this.#targets.flatMap(({ version, reads }) => [version, ...reads]))]
    for await (const page of stored.read({ type: this.#type, part, after, upTo, versions })) {
      signal?.throwIfAborted()
      if (after !== '' && page.length > 0) this.#tails.add(part.name)
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
        const way = this.#parts.judge.wayOf(this.#type, version, target.version)
        const steps = way.map(({ from, to }) => `${from}-${to}`)
        return because === undefined
          ? { version, ...count, standing: 'fails', steps }
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

/** Those of weeks that lie in a part. */
function topsIn(tops: readonly ShapeTop[], { fromMs, untilMs }: Part): ShapeTop[] {
  return tops.filter(({ weekMs }) => weekMs >= fromMs && weekMs + weekLengthMs <= untilMs)
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
