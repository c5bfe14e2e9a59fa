import { createHash } from 'node:crypto'
import type { Clock } from '../../src/clock.ts'
import { codeOf, messageOf } from '../../src/errors.ts'
import type { Event } from '../../src/contract/event.ts'
import type { Logger } from '../../src/log.ts'
import { createThrottle } from '../../src/throttle.ts'
import type { Delivery } from '../amqp/delivery.ts'
import { topFrames } from './stack.ts'

/** An attempt that failed, after it was put aside. */
export interface FailedAttempt {
  delivery: Delivery
  /** What was in it, as far as it could be read. */
  event: Event | undefined
  error: unknown
  /** Until the next attempt; undefined: it is a dead letter now. */
  retryInMs: number | undefined
}

/** Tells of attempts that failed, so that whoever reads the log need not look into the letters to know where and why. */
export type FailureLog = (failed: FailedAttempt) => void

const intervalMs = 60_000
/** Lines about one device in that time, and of one code about it; a device in a loop must not fill the log. */
const deviceLinesMax = 60
const linesMax = 20
const textLengthMax = 1_000

/** A line each; the stack once for each place that something is thrown at, and then at most once a minute. */
export function createFailureLog(log: Logger, clock: Clock): FailureLog {
  const throttleDevices = createThrottle(clock, intervalMs, deviceLinesMax)
  const throttleLines = createThrottle(clock, intervalMs, linesMax)
  const throttleStacks = createThrottle(clock, intervalMs)
  return ({ delivery, event, error, retryInMs }) => {
    const code = codeOf(error).slice(0, 100)
    const about = event ? fromEvent(event) : fromProperties(delivery)
    const device = about.device ?? ''
    const alikeBefore = throttleLines(`${code} ${device}`)
    if (alikeBefore === undefined) return
    // A handler may make a code of what a device sends.
    const othersBefore = throttleDevices(device)
    if (othersBefore === undefined) return
    const stack = topFrames(error)
    const isNew = stack !== undefined && throttleStacks(digestOf(`${code} ${stack}`)) !== undefined
    const then = retryInMs === undefined ? 'the event is a dead letter now' : 'it is tried again'
    log.warn(
      {
        code,
        ...about,
        attempt: delivery.attempt,
        ...(retryInMs !== undefined && { retryInMs }),
        ...(isNew && { stack }),
        ...(alikeBefore > 0 && { alikeBefore }),
        ...(othersBefore > 0 && { othersBefore }),
      },
      `an attempt failed, and ${then}: ${messageOf(error).slice(0, textLengthMax)}`,
    )
  }
}

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
