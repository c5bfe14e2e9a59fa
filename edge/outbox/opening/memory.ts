import type { Store, StoreFolder } from '../../store/store.ts'
import { type Answered, decodeAnswered } from '../layout/answered.ts'
import { blockEventsMax } from '../layout/block.ts'
import { decodeHead, type Head } from '../layout/head.ts'

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
  /** The head is in the memory of a run that goes on. */
  running: boolean
}

/** What the folder remembers beside the store. @throws TidegateError `STORE_NEWER` */
export async function memoryOf(folder: StoreFolder): Promise<Memory> {
  const found = await folder.readAnswered()
  const answered = decodeAnswered(found?.word)
  const head = decodeHead(await folder.readMark())
  // A version that keeps no word may have run since: its mark says so.
  const newest = answered !== undefined && (head === undefined || head.position <= answered.position)
  return { head, answered, certain: newest && (answered.closed || found?.newest === true), running: false }
}

/** With what the store says: one that goes on behind the word of an orderly end was written without keeping the word. */
export function isCertain({ certain, answered }: Memory, found: Head | undefined): boolean {
  return certain && !(answered?.closed === true && found !== undefined && found.position > answered.position)
}

/**
 * The newest head there is word of. At the same place the store's own comes first, and then the one in front of which less
 * waits: it knows of more that has left.
 */
export function newestHead(
  { head: mark, answered }: Memory,
  found: Head | undefined,
  newHead: (base: number) => Head,
): Head | undefined {
  const base = newest([mark, found]) ?? (answered && newHead(answered.epochBase))
  return newest([mark, base && answered && toldHead(base, answered), found])
}

/** The head as it stood when the word was given. */
function toldHead(base: Head, { epoch, epochBase, position, depth, first }: Answered): Head {
  const before = { epoch: base.epoch, epochBase: base.epochBase }
  const earlier = base.epochBase === epochBase ? base.earlier : [...base.earlier, before]
  return { ...base, epoch, epochBase, position, depth, first, earlier }
}

/** By position; of those at the same one the last, or one that knows of more departures. */
function newest(heads: readonly (Head | undefined)[]): Head | undefined {
  return heads.reduce<Head | undefined>((best, head, index) => {
    if (!head || !best) return head ?? best
    if (head.position !== best.position) return head.position > best.position ? head : best
    return index === heads.length - 1 || waiting(head) <= waiting(best) ? head : best
  }, undefined)
}

function waiting({ depth }: Head): number {
  return depth.high + depth.normal
}

/** How a store falls short of what is remembered of it; undefined: it does not. */
export function tailLost(head: Head, known: Head | undefined): string | undefined {
  if (!known || known.position <= head.position) return undefined
  return `the outbox should hold position ${known.position} and ends at ${head.position}`
}

/** What is to be said of a last write that is not whole. */
export function tornDetail(certain: boolean, eventsMax: number | null): string {
  if (certain) return 'the last write is not whole; what anybody had been told of is known all the same'
  const events =
    eventsMax === 1 ? 'the one event' : eventsMax === null ? 'what was' : `the up to ${eventsMax} events`
  return (
    `the last write is not whole, and the power may have failed since: whether anybody had been told of ${events} in it ` +
    `is not known (on a disk that keeps its word, nobody)`
  )
}

/**
 * How many events a write held that is not whole; null: nobody can tell. Its head stands first in it and says where it ended, if that
 * can be read. Else it had an operation for the head, one for the IDs and one for a device's count at the least, and one for each block.
 */
export function eventsInTorn({ operationsMax, firstValue }: Torn, found: Head | undefined): number | null {
  const head = decodeHead(firstValue)
  if (head && head.epoch === found?.epoch) return Math.max(0, head.position - found.position)
  if (operationsMax === null) return null
  return Math.max(0, operationsMax - 3) * blockEventsMax
}

type Torn = NonNullable<Store['torn']>
