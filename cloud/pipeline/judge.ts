import { isUtf8 } from 'node:buffer'
import { decodeEvent } from '../../src/contract/codec.ts'
import { parkedDelivery } from '../parking/parked.ts'
import type { ParkedHead } from '../parking/parking.ts'
import { partitionKeyOf } from '../parking/partition-key.ts'
import { TidegateError } from '../../src/errors.ts'
import type { Event } from '../../src/contract/event.ts'
import type { Consumer } from './definition.ts'
import type { Provenance } from '../gateways/provenance.ts'
import type { Delivery } from '../amqp/delivery.ts'
import { countedOf, letterOf, type ReplayMark, replayOf, type SentLetter } from '../replays/replayed.ts'
import { thrown } from './retry.ts'
import type { ReadAs } from '../../src/schemas/upcast/read-as.ts'
import type { SchemaCheck } from '../reading/schema-check.ts'

/** A delivery whose event could be read and that is to be handled. */
export interface Parcel {
  delivery: Delivery
  event: Event
  /** The wire text, verbatim. */
  text: string
  /** What is wrong with it: of a consumer that records faults, which is handed no other's. */
  fault: TidegateError | undefined
  /** The dead letter that it is the replay of. */
  sent: SentLetter | undefined
  /** What it is the replay of. */
  replay?: ReplayMark | undefined
  /** A replay out of history has sent it, and the group takes its type no more: it is done, without an effect. */
  isUnwanted?: true
}

export type Judgement =
  | { kind: 'handle'; parcel: Parcel }
  /** Nothing this group wants: a pattern that was bound once, or a system event. */
  | { kind: 'ignore'; delivery: Delivery }
  /** Too old for this group, by its own word. */
  | { kind: 'shed'; delivery: Delivery }
  | { kind: 'fault'; delivery: Delivery; error: unknown; event: Event | undefined }

/** What every event has to stand, whatever its group. */
export interface Checks {
  provenance: Provenance
  checkSchema: SchemaCheck
  /** For who asks for a version. */
  readAs: ReadAs
}

/**
 * Reads a delivery and says what is to be done with it. Never throws: what the consumer's own `inspect` throws is a
 * fault of this delivery, and no other has to wait for it.
 */
export function judge(delivery: Delivery, consumer: Consumer, checks: Checks, nowMs: number): Judgement {
  let event: Event | undefined
  try {
    if (delivery.propertyFault !== undefined) throw unreadableProperties(delivery.propertyFault)
    if (delivery.batchFault !== undefined) throw delivery.batchFault
    const text = delivery.text.toString('utf8')
    if (!isUtf8(delivery.text)) throw notUtf8()
    event = decodeEvent(text)
    if (consumer.parks && partitionKeyOf(delivery.text) !== event.partitionkey) throw ambiguous(event)
    const sent = letterOf(delivery)
    // Nobody but the cloud says so of an event; a device may have an attribute of that name, which is never an object.
    if (sent === undefined && typeof event.edited === 'object') delete event.edited
    const replay = replayOf(delivery)
    if (!consumer.wants(event.type)) {
      // Its replay waits to hear of it.
      if (countedOf(delivery) !== undefined)
        return {
          kind: 'handle',
          parcel: { delivery, event, text, fault: undefined, sent, replay, isUnwanted: true },
        }
      if (sent === undefined) return { kind: 'ignore', delivery }
      throw notWanted(event.type, consumer.group)
    }
    // What is not believed is no record of its ledger either (G9).
    const disbelief = checks.provenance(event, delivery)
    if (disbelief !== undefined) return { kind: 'fault', delivery, error: disbelief, event }
    const schemaFault = checks.checkSchema(event)
    const isLate = delivery.exchange !== '' && isTooOld(event, consumer, nowMs)
    // What is at fault, or not handed over, is nothing that anybody reads.
    const asItCame = { event, fault: schemaFault }
    const read = schemaFault || isLate ? asItCame : readFor(consumer, event, checks)
    // A module without types may say null.
    const fault = read.fault ?? consumer.inspect(read.event) ?? undefined
    if (fault !== undefined && !consumer.recordsFaults)
      return { kind: 'fault', delivery, error: fault, event }
    if (isLate) return { kind: 'shed', delivery }
    return { kind: 'handle', parcel: { delivery, event: read.event, text, fault, sent, replay } }
  } catch (error) {
    return { kind: 'fault', delivery, error: thrown(error), event }
  }
}

/**
 * As the consumer asks for it; the text stays as it came. What cannot be brought there is at fault, as it came.
 * @throws TidegateError of what waits for a schema: it is at no fault, and nobody records one
 */
function readFor(
  consumer: Consumer,
  event: Event,
  { readAs }: Checks,
): { event: Event; fault: TidegateError | undefined } {
  const wanted = consumer.wantedVersion(event.type)
  if (wanted === undefined) return { event, fault: undefined }
  try {
    return { event: readAs(event, wanted), fault: undefined }
  } catch (error) {
    if (!(error instanceof TidegateError) || error.retryable) throw error
    return { event, fault: error }
  }
}

/** One that is parked, as it was read. */
export interface Waiting {
  head: ParkedHead
  delivery: Delivery
  judgement: Judgement
}

export function judgeParked(head: ParkedHead, consumer: Consumer, checks: Checks, nowMs: number): Waiting {
  const delivery = parkedDelivery(head)
  const judgement = judge(delivery, consumer, checks, nowMs)
  // What has not failed has only waited, as it might have in its queue.
  const live = judgement.kind === 'handle' && judgement.parcel.replay === undefined && delivery.attempt === 1
  const isLate = live && isTooOld(judgement.parcel.event, consumer, nowMs)
  return { head, delivery, judgement: isLate ? { kind: 'shed', delivery } : judgement }
}

export function parcelOf({ judgement }: Waiting): Parcel | undefined {
  return judgement.kind === 'handle' ? judgement.parcel : undefined
}

/** Also of one that is to be left out: it was an event when it came to wait. */
export function eventOf({ judgement, delivery }: Waiting): Event | undefined {
  if (judgement.kind === 'handle') return judgement.parcel.event
  if (judgement.kind === 'fault') return judgement.event
  try {
    return decodeEvent(delivery.text.toString('utf8'))
  } catch {
    return undefined
  }
}

/** A gateway that was started without a clock cannot say how old an event is. */
const plausibleFromMs = Date.UTC(2020)

/**
 * By its group's own word. What was tried before and failed goes its way to the end: it was fresh when it came. So does what somebody
 * replays. Both come by the default exchange.
 */
function isTooOld({ recordedtime }: Event, { freshnessMs }: Consumer, nowMs: number): boolean {
  if (freshnessMs === undefined) return false
  const recordedMs = Date.parse(recordedtime)
  return recordedMs >= plausibleFromMs && nowMs - recordedMs > freshnessMs
}

function notUtf8(): TidegateError {
  return new TidegateError('EVENT_UNREADABLE', {
    message: 'the message is not UTF-8',
    retryable: false,
    hint: 'publish CloudEvents 1.0 in structured JSON; see docs/WIRE.md',
  })
}

/** The lane it is in is that of another device: its events would be seen out of order (G6). */
function ambiguous({ partitionkey }: Event): TidegateError {
  return new TidegateError('EVENT_UNREADABLE', {
    message: `the event's partitionkey is ${partitionkey}, and it stands in the text twice, or with escapes`,
    retryable: false,
    hint: 'publish it once and as it is; see docs/WIRE.md for the envelope',
  })
}

/** Of what nobody has asked for, nothing is said; of a replay its letter must hear. */
function notWanted(type: string, group: string): TidegateError {
  return new TidegateError('TYPE_NOT_WANTED', {
    message: `${group} takes no ${type} any more`,
    retryable: false,
    hint: 'discard its letters, or let the consumer take that type again',
  })
}

function unreadableProperties(fault: string): TidegateError {
  return new TidegateError('PROPERTIES_UNREADABLE', {
    message: `the message's AMQP properties cannot be read: ${fault}`,
    retryable: false,
    hint: 'see who publishes it: no gateway does; tidegate-original-properties has them as they came, base64',
  })
}
