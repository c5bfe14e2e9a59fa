import { parseDuration } from '../../src/units.ts'
import { formerDeadQueue, mirrorQueue, rungName, wire } from '../../src/contract/wire.ts'
import type { Identity } from '../watch/history.ts'

/** A place in which an event was seen. */
export type Sighting =
  | { kind: 'history' }
  /** In the outbox of the gateway, or (with a folder) in one that was set aside because it was damaged. */
  | { kind: 'outbox' | 'set-aside'; folder: string; epoch: string; sequence: number }
  /** A row of `tidegate.dead_letters`, which holds the event's text. */
  | { kind: 'letter'; group: string; letter: number; state: string }
  | ({ queue: string } & QueueKind)

/** What a queue is there for. */
export type QueueKind =
  { kind: 'queue' | 'rung' | 'dead-letters'; group: string } | { kind: 'unroutable' | 'other-queue' }

/**
 * Where an event is, in one word. `elsewhere`: a copy is left, but on no way that leads to the history. `nowhere`: everything was
 * looked into, and it is lost. `not-found`: not everything could be looked into.
 */
export type Where =
  | 'history'
  | 'queue'
  | 'rung'
  | 'letter'
  | 'dead-letters'
  | 'outbox'
  | 'unroutable'
  | 'set-aside'
  | 'elsewhere'
  | 'nowhere'
  | 'not-found'

export interface Located extends Identity {
  where: Where
  /** The same for a person, with every place it was seen in. */
  words: string
}

/** The group that writes the history. */
const historian = 'history'

/** The nearest to the history first. */
const nearness = [
  'history',
  'queue',
  'rung',
  'letter',
  'dead-letters',
  'outbox',
  'unroutable',
  'set-aside',
] as const

/**
 * What a queue is, told by its name. Whatever else is named after a group is taken for one of its partition queues: those of another
 * version of Tidegate may lie beside ours.
 */
export function kindOf(queue: string, groups: readonly string[]): QueueKind {
  if (queue === wire.unroutable) return { kind: 'unroutable' }
  const group = groups.find((group) => queue.startsWith(`${group}.`))
  if (group === undefined) return { kind: 'other-queue' }
  if (queue === formerDeadQueue(group) || queue === mirrorQueue(group)) return { kind: 'dead-letters', group }
  const delayMs = parseDuration(queue.slice(queue.lastIndexOf('.') + 1))
  if (delayMs !== undefined && queue === rungName(group, delayMs)) return { kind: 'rung', group }
  return { kind: 'queue', group }
}

/**
 * Where an event is, of which this was seen. `blind` says that something could not be looked into: nobody is then told that
 * an event is lost.
 */
export function locate(event: Identity, seen: readonly Sighting[], blind: boolean): Located {
  const onItsWay = seen.filter((one) => !('group' in one) || (one.group === historian && !isClosed(one)))
  const where = nearness.find((kind) => onItsWay.some((one) => one.kind === kind))
  const nearestFirst = seen.toSorted((a, b) => rank(a) - rank(b))
  const places = [...new Set(nearestFirst.map(inWords))].join('; ')
  if (where !== undefined) return { ...event, where, words: places }
  if (seen.length > 0)
    return {
      ...event,
      where: 'elsewhere',
      words: `on no way to the history any more, but a copy is ${places}`,
    }
  return blind
    ? { ...event, where: 'not-found', words: 'not found, and not everything could be looked into' }
    : { ...event, where: 'nowhere', words: 'nowhere: it is lost' }
}

function isClosed(one: Sighting): boolean {
  return one.kind === 'letter' && !['open', 'replaying'].includes(one.state)
}

function rank({ kind }: Sighting): number {
  return kind === 'other-queue' ? nearness.length : nearness.indexOf(kind)
}

/** How many events are in each place, the most first. */
export function tally(located: readonly Located[]): { where: Where; place: string; events: number }[] {
  const counts = new Map<string, { where: Where; place: string; events: number }>()
  for (const { where, words } of located) {
    const place = words.replaceAll(/ \((epoch|letter) [^)]*\)/g, '')
    const count = counts.get(place)
    if (count) count.events += 1
    else counts.set(place, { where, place, events: 1 })
  }
  return [...counts.values()].toSorted((a, b) => b.events - a.events)
}

function inWords(sighting: Sighting): string {
  switch (sighting.kind) {
    case 'history':
      return 'in the history by now: it came after the books were balanced'
    case 'outbox':
      return `in the gateway’s outbox ${placeOf(sighting)}`
    case 'set-aside':
      return `in a store that was set aside, ${sighting.folder} ${placeOf(sighting)}`
    case 'queue':
      return `in the partition queue ${sighting.queue}`
    case 'rung':
      return `on the rung ${sighting.queue}`
    case 'letter':
      return `a dead letter of ${sighting.group}, ${sighting.state} (letter ${sighting.letter})`
    case 'dead-letters':
      return `among the dead letters, ${sighting.queue}`
    case 'unroutable':
      return `in ${sighting.queue}: no group wanted it`
    case 'other-queue':
      return `in the queue ${sighting.queue}, which is none of ours`
  }
}

function placeOf({ epoch, sequence }: { epoch: string; sequence: number }): string {
  return `(epoch ${epoch}, sequence ${sequence})`
}
