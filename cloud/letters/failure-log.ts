import { createHash } from 'node:crypto'
import type { Clock } from '../../src/clock.ts'
import { codeOf, messageOf } from '../../src/errors.ts'
import type { Event } from '../../src/contract/event.ts'
import type { Logger } from '../../src/log.ts'
import { createThrottle } from '../../src/throttle.ts'
import type { Delivery } from '../amqp/delivery.ts'
import { stackOf } from './stack.ts'

/** An attempt that failed, after it was put aside or recorded. */
export interface FailedAttempt {
  delivery: Delivery
  /** What was in it, as far as it could be read. */
  event: Event | undefined
  error: unknown
  /** What has become of the event. */
  outcome:
    | { kind: 'retry' | 'park'; delayMs: number }
    | { kind: 'dead'; letter?: number | undefined }
    | { kind: 'hold' | 'recorded' }
}

/** Tells of attempts that failed, so that whoever reads the log need not look into the letters to know where and why. */
export type FailureLog = (failed: FailedAttempt) => void

/** Of a kind there is one line in that time, as of what one device does at the edge. */
const intervalMs = 10_000
/** For the log of the day before may be gone. */
const stackIntervalMs = 86_400_000
/** A handler may make a code of what a device sends, and each code is a kind: that device must not fill the log. */
const deviceIntervalMs = 60_000
const deviceLinesMax = 60
const textLengthMax = 1_000

/**
 * A kind is a code and the place that something was thrown at. The first of a kind is told with its stack, then one in 10 s, with the
 * number of those that were left out; the stack again once a day.
 */
export function createFailureLog(log: Logger, clock: Clock): FailureLog {
  const throttleKinds = createThrottle(clock, intervalMs)
  const throttleStacks = createThrottle(clock, stackIntervalMs)
  const throttleDevices = createThrottle(clock, deviceIntervalMs, deviceLinesMax)
  return ({ delivery, event, error, outcome }) => {
    const code = codeOf(error)
    const about = event ? fromEvent(event) : fromProperties(delivery)
    const stack = stackOf(error)
    const kind = digestOf([outcome.kind, code, stack?.split('\n', 1)[0]].join(' '))
    const device = about.device ?? ''
    // A device that is silent takes no line of a kind that others share; what its kind holds back takes none of the device's.
    if (throttleDevices.holds(device)) {
      throttleDevices(device)
      return
    }
    const alikeBefore = throttleKinds(kind)
    if (alikeBefore === undefined) return
    const othersBefore = throttleDevices(device) ?? 0
    const isNew = stack !== undefined && throttleStacks(kind) !== undefined
    log.warn(
      {
        code,
        ...about,
        attempt: delivery.attempt,
        ...(outcome.kind === 'dead' && outcome.letter !== undefined && { letter: outcome.letter }),
        ...('delayMs' in outcome && { retryInMs: outcome.delayMs }),
        ...(isNew && { stack }),
        ...(alikeBefore > 0 && { alikeBefore }),
        ...(othersBefore > 0 && { othersBefore }),
      },
      `${consequences[outcome.kind]}: ${messageOf(error).slice(0, textLengthMax)}`,
    )
  }
}

const consequences = {
  retry: 'an attempt failed, and it is tried again',
  park: 'an attempt failed, and its device is parked: what comes later of it waits until this is done with',
  hold: 'the last attempt failed, and its device is held: all that comes of it waits for an operator',
  dead: 'an attempt failed, and the event is a dead letter now',
  recorded: 'an event was stored with its fault',
} as const

/** Of a fixed length: thousands of them are remembered (G7). */
function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('base64')
}

interface About {
  device?: string
  id?: string | undefined
  type?: string | undefined
  gateway?: string | undefined
  sequence?: number
}

function fromEvent({ partitionkey: device, id, type, gateway, sequence }: Event): About {
  return { device, id, type, gateway, sequence }
}

/** What its publisher says of it. */
function fromProperties({ properties: { messageId: id, type, appId: gateway } }: Delivery): About {
  return { id, type, gateway }
}
