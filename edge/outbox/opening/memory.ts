import { codeOf } from '../../../src/errors.ts'
import type { StoreFolder } from '../../store/store.ts'
import { type Answered, decodeAnswered } from '../layout/answered.ts'
import { decodeHead, type Head, understood } from '../layout/head.ts'

/** What is known of an outbox besides what its store says. */
export interface Memory {
  /** The newest head there is word of: the run's own, or the mark, which is some seconds old. */
  head: Head | undefined
  /** The last place that anybody was told of; undefined: there is no word of it. */
  answered: Answered | undefined
  /**
   * Nobody was told of anything later than this: the folder was open until now, or closed in order, or the machine has been on
   * since. false: a power cut may have taken the newest word.
   */
  certain: boolean
}

/** What the folder remembers beside the store. */
export async function memoryOf(folder: StoreFolder): Promise<Memory> {
  const found = await folder.readAnswered()
  const answered = decodeAnswered(found?.word)
  return {
    head: await headOfMark(folder),
    answered,
    certain: answered !== undefined && (answered.closed || found?.newest === true),
  }
}

/** The newest head that is remembered, and moved on to the last place that anybody was told of, if that is later. */
export function remembered(
  { head: last, answered }: Memory,
  found: Head | undefined,
  newHead: (base: number) => Head,
): Head | undefined {
  if (answered === undefined) return last
  const { epoch, epochBase, position } = answered
  const newest = [last, found].filter((head) => head !== undefined).toSorted(byPosition)
  const base = newest.at(-1) ?? { ...newHead(epochBase), epoch }
  if (position <= base.position) return last
  const before = { epoch: base.epoch, epochBase: base.epochBase }
  return {
    ...base,
    epoch,
    epochBase,
    position,
    earlier: base.epochBase === epochBase ? base.earlier : [...base.earlier, before],
    depth: { ...base.depth, normal: base.depth.normal + position - base.position },
  }
}

/** How a store falls short of what is remembered of it; undefined: it does not. */
export function tailLost(head: Head, known: Head | undefined): string | undefined {
  if (!known || known.position <= head.position) return undefined
  return `the outbox should hold position ${known.position} and ends at ${head.position}`
}

/** What is to be said of a last write that is not whole. */
export function tornDetail({ certain }: Memory, eventsMax: number): string {
  if (certain) return 'the last write is not whole; what anybody had been told of is known all the same'
  const events = eventsMax === 1 ? 'the one event' : `the up to ${eventsMax} events`
  return (
    `the last write is not whole, and the power may have failed since: whether anybody had been told of ${events} in it ` +
    `is not known (on a disk that keeps its word, nobody)`
  )
}

/** An event takes two operations at the least, the head and a device's count one each (outbox/DESIGN.md, layout). */
export function eventsInTorn(operationsMax: number): number {
  return Math.max(0, Math.floor((operationsMax - 2) / 2))
}

async function headOfMark(folder: StoreFolder): Promise<Head | undefined> {
  try {
    return decodeHead(await folder.readMark())
  } catch (error) {
    if (codeOf(error) !== 'STORE_NEWER') throw error
    return understood((error as Error).cause)
  }
}

export function byPosition(a: Head, b: Head): number {
  return a.position - b.position
}
