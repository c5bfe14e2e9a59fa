import type { Clock } from '../../src/clock.ts'
import { isAbort, messageOf } from '../../src/errors.ts'
import { eventKey } from '../../src/contract/event.ts'
import type { Identity } from '../watch/history.ts'
import { locate, type Located, type Sighting } from './whereabouts.ts'

/** Told of each event that is come across. */
export type See = (event: Identity, sighting: Sighting) => void

/** One place that was looked into. */
export interface Looked {
  /** `the outbox`, or the name of a queue. */
  place: string
  /** Events or messages it held. */
  holds: number
  /** How many of them were looked at. */
  looked: number
  /** Why there may be more than was seen. */
  blind?: string
}

/** Places to look into. Looking leaves everything as it was. */
export interface Lookout {
  /** `RabbitMQ`, for who is told that it could not be looked into. */
  name: string
  look(see: See, signal: AbortSignal): Promise<Looked[]>
}

export interface Search {
  located: Located[]
  /** What every place held when it was looked into last. */
  looked: Looked[]
  /** Why an event may be somewhere and yet not have been found; empty if everything was looked into. */
  blind: string[]
}

/** A letter whose time on its rung is up is for a moment neither there nor in its partition queue. */
const looksMax = 2
const betweenLooksMs = 500

/**
 * Looks for events that are not in the history, in the direction in which they move: what leaves a place while
 * it is looked for is seen in the next one. Nothing is called lost that was not looked for twice, everywhere.
 */
export async function search(
  missing: readonly Identity[],
  options: {
    /** In the order of an event's way. */
    lookouts: readonly Lookout[]
    /** Of these identities, those that the history does not hold. */
    absent: (identities: readonly Identity[]) => Promise<Identity[]>
    clock: Clock
  },
  signal: AbortSignal,
): Promise<Search> {
  const { lookouts, absent, clock } = options
  const sought = new Map(missing.map((event) => [eventKey(event), [] as Sighting[]]))
  const see: See = (event, sighting) => {
    const seen = sought.get(eventKey(event))
    if (seen && !seen.some((one) => isSame(one, sighting))) seen.push(sighting)
  }
  let looked: Looked[] = []
  let blind: string[] = []
  for (let look = 1; look <= looksMax; look += 1) {
    if (look > 1) await clock.sleep(betweenLooksMs, signal)
    looked = []
    blind = []
    for (const lookout of lookouts) {
      try {
        looked.push(...(await lookout.look(see, signal)))
      } catch (error) {
        if (isAbort(error)) throw error
        blind.push(`${lookout.name} could not be looked into: ${messageOf(error)}`)
      }
    }
    blind.push(...looked.flatMap(({ blind }) => (blind === undefined ? [] : [blind])))
    blind.push(...(await seeArrived(missing, absent, see)))
    if ([...sought.values()].every((seen) => seen.length > 0)) break
  }
  return {
    located: missing.map((event) => locate(event, sought.get(eventKey(event)) ?? [], blind.length > 0)),
    looked,
    blind,
  }
}

async function seeArrived(
  missing: readonly Identity[],
  absent: (identities: readonly Identity[]) => Promise<Identity[]>,
  see: See,
): Promise<string[]> {
  try {
    const still = new Set((await absent(missing)).map(eventKey))
    for (const event of missing) if (!still.has(eventKey(event))) see(event, { kind: 'history' })
    return []
  } catch (error) {
    return [`the history could not be asked again: ${messageOf(error)}`]
  }
}

function isSame(one: Sighting, other: Sighting): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}

/** The identity and the place in the ledger that a text claims, if it is an event at all. */
export function readEvent(text: string): (Identity & { epoch: string; sequence: number }) | undefined {
  try {
    const { source, id, epoch, sequence } = JSON.parse(text) as Record<string, unknown>
    if (typeof source !== 'string' || typeof id !== 'string') return undefined
    return { source, id, epoch: String(epoch), sequence: Number(sequence) }
  } catch {
    return undefined
  }
}
