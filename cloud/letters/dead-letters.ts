import { isUtf8 } from 'node:buffer'
import { TidegateError, codeOf, messageOf } from '../../src/errors.ts'
import type { Event } from '../../src/contract/event.ts'
import { headers as names } from '../../src/contract/wire.ts'
import type { Headers, Letter, MessageProperties } from '../amqp/delivery.ts'
import type { Statements } from '../database/statements.ts'
import { type Cause, causesOf } from './fingerprint.ts'
import { letterKey } from './key.ts'
import { essentials, type Failing, foreignOf } from './letters.ts'
import { countedOf, letterOf, replayOf, type SentLetter } from '../replays/replayed.ts'
import { addFailure, type Failure } from './story.ts'
import { stackOf } from './stack.ts'

/**
 * The record of what failed for good, in the transaction of whoever adds to it (G5). Port; the adapter is
 * dead-letters-postgres.ts.
 */
export interface DeadLetters {
  /**
   * Answers in order. Of one key there is one open letter in a group: one that is added again, delivered once more or after a crash between
   * the commit and the acknowledgement, is the letter that is there, with a further failure in its story. Nothing that stands in a letter
   * keeps it from being added.
   */
  add(letters: readonly DeadLetter[]): Promise<Added[]>
  /** Of these keys, in hex, those that are open letters of the group, or are being replayed. */
  openOf(group: string, keys: readonly Buffer[]): Promise<ReadonlySet<string>>
  /** Adds none: of those that are there, the further failure. Answers in order their numbers; undefined: it is not there. */
  failedAgain(letters: readonly DeadLetter[]): Promise<(number | undefined)[]>
}

export interface Added {
  /** Undefined: it was there, and somebody has closed it in the same moment. */
  letter: number | undefined
  /** It was not there before. */
  isNew: boolean
}

/** What is kept of a delivery that failed for good. */
export interface DeadLetter extends About {
  readonly group: string
  readonly key: Buffer
  readonly body: Buffer
  readonly properties: MessageProperties
  readonly headers: Headers
  readonly routingKey: string
  readonly queue: string
  readonly publisher: string | undefined
  /** The most particular first: where there are too many of them the next is taken. */
  readonly causes: readonly [Cause, ...Cause[]]
  readonly code: string
  readonly message: string
  readonly stack: string | undefined
  readonly attempts: number
  readonly failures: readonly Failure[]
  readonly instance: string
  readonly version: string | undefined
  readonly firstFailedAt: string
  readonly lastFailedAt: string
  /** It is a letter already, and its replay has failed: that one is open again, if it has waited for this. */
  readonly sent: SentLetter | undefined
  /** Of the replay that has sent it: its own replays have it as well. */
  readonly generation: string | undefined
  /** The replay out of history that has sent it, and waits to hear of it. */
  readonly counted?: { replay: number; partition: number } | undefined
  /** Its message may have come before, and its letter have been closed since: then that was it (G4). */
  readonly mayBeClosed?: true
}

/** Which event it is, as far as it could be read: what cannot be read may say anything, of which no more is kept than these columns hold. */
export interface About {
  readonly source?: string | undefined
  readonly id?: string | undefined
  readonly type?: string | undefined
  readonly device?: string | undefined
  readonly gateway?: string | undefined
  readonly epoch?: string | undefined
  readonly sequence?: number | undefined
}

/** What a pipeline needs to set aside what failed for good. */
export interface LetterBox {
  lettersIn: (transaction: Statements) => DeadLetters
  /** Why no letter of this group can be added now: `DEAD_LETTERS_FULL`. */
  full: (group: string) => TidegateError | undefined
  /** Copies a letter for other tools. Never throws; nobody waits for it. */
  mirror: (group: string, letter: () => Letter) => void
}

export interface Dying extends Failing {
  /** What was in it, as far as it could be read. */
  event: Event | undefined
  /** Of the consumer. */
  version: string | undefined
}

const messageLengthMax = 8_192
const aboutLengthMax = 256
/** Of what is no event. */
const readBytesMax = 65_536

/** Never throws. */
export function deadLetterOf(dying: Dying): DeadLetter {
  const { delivery, error, event, group, instance, version, nowMs } = dying
  const at = new Date(nowMs).toISOString()
  const essential = essentials(dying, delivery.attempt, at)
  const text = (name: string): string => String(essential[name])
  const message = messageOf(error).slice(0, messageLengthMax)
  const code = text(names.errorCode)
  const stack = stackOf(error)
  const about = aboutOf(dying)
  const { device, id, gateway, source, type } = about
  const user = essential[names.originalUser]
  const generation = replayOf(delivery)?.generation
  const counted = countedOf(delivery)
  return {
    ...about,
    ...foreignOf(delivery),
    group,
    generation,
    key: letterKey(delivery, event && isBelieved(error) ? { ...identity(event), generation } : undefined),
    body: delivery.text,
    routingKey: text(names.originalRoutingKey),
    queue: text(names.originalQueue),
    publisher: typeof user === 'string' ? user : undefined,
    causes: causesOf({ group, code, type, message, stack, own: [device, id, gateway, source] }),
    code,
    message,
    stack,
    attempts: delivery.attempt,
    failures: addFailure(delivery.headers, { attempt: delivery.attempt, at, code, message }),
    instance,
    version,
    firstFailedAt: text(names.firstFailedAt),
    lastFailedAt: at,
    sent: letterOf(delivery),
    counted: counted === undefined ? undefined : { replay: counted, partition: delivery.partition },
  }
}

function identity({ source, id }: Event): { source: string; id: string } {
  return { source, id }
}

/** What somebody publishes in a gateway's name must not take the place of the event that it names (G9). */
function isBelieved(error: unknown): boolean {
  return !(error instanceof TidegateError && codeOf(error) === 'PROVENANCE')
}

export function aboutOf({ delivery, event }: Pick<Dying, 'delivery' | 'event'>): About {
  if (event) {
    const { source, id, type, partitionkey: device, gateway, epoch, sequence } = event
    return { source, id, type, device, gateway, epoch, sequence }
  }
  const read = fieldsOf(delivery.text)
  const { messageId, type, appId } = delivery.properties
  const text = (name: string, otherwise?: string): string | undefined => {
    const value = read[name]
    const given = typeof value === 'string' && value !== '' ? value : otherwise
    return given?.slice(0, aboutLengthMax)
  }
  return {
    source: text('source'),
    id: text('id', messageId),
    type: text('type', type),
    device: text('partitionkey'),
    gateway: text('gateway', appId),
    epoch: text('epoch'),
    sequence: Number.isSafeInteger(read['sequence']) ? (read['sequence'] as number) : undefined,
  }
}

/** Of what is no event, and may be anything. */
function fieldsOf(body: Buffer): Record<string, unknown> {
  if (body.length > readBytesMax || !isUtf8(body)) return {}
  try {
    const value: unknown = JSON.parse(body.toString('utf8'))
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

/** The same with what is ours alone, for a letter that the database does not take as it is. */
export function barest(letter: DeadLetter): DeadLetter {
  const [, ofCode, ofGroup] = letter.causes
  const { group, key, body, routingKey, queue, attempts, instance, firstFailedAt, lastFailedAt } = letter
  const { sent, generation, counted } = letter
  return {
    group,
    key,
    body,
    properties: {},
    headers: {},
    routingKey: ascii(routingKey),
    queue: ascii(queue),
    publisher: undefined,
    causes: [ofGroup ?? ofCode ?? letter.causes[0]],
    code: ascii(letter.code),
    message: ascii(letter.message),
    stack: undefined,
    attempts,
    failures: [],
    instance,
    version: undefined,
    firstFailedAt,
    lastFailedAt,
    sent,
    generation,
    counted,
  }
}

function ascii(text: string): string {
  return text.replaceAll(/[^ -~]/g, '?')
}
