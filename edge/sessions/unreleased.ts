import { createHash } from 'node:crypto'
import { TidegateError } from '../../src/errors.ts'
import { UnderWay } from '../../src/under-way.ts'
import type { Publish, Verdict } from '../admission/ingest.ts'
import type { SessionsObserver } from './observer.ts'
import { add } from './records/quota.ts'

/** A clean one is over with its connection, and so is what it did not release: there are no records of it. */
export interface PublisherSession {
  id: string
  clean?: boolean
  closed?: boolean
}

/** Keeps across a restart which messages were taken. */
export interface UnreleasedRecords {
  write(clientId: string, messageId: number, digest: string): Promise<void>
  /** Resolves when the record is gone for good: after a power cut too it does not come back. */
  remove(clientId: string, messageId: number): Promise<void>
  all(): AsyncIterable<{ clientId: string; messageId: number; digest: string }>
}

export interface UnreleasedOptions {
  records: UnreleasedRecords
  perDeviceMax: number
  deviceOf: (clientId: string) => string
  observer: Pick<SessionsObserver, 'notKept' | 'published'>
}

type Message = Pick<Publish, 'topic' | 'payload' | 'retain'> & { messageId?: number | undefined }

interface Entry {
  readonly clientId: string
  readonly messageId: number
  readonly digest: string
  /** Undefined: it outlives its connection. */
  readonly clean: PublisherSession | undefined
  /** Being made durable; durable; and its record is written, so that it may be acknowledged. */
  state: 'admitting' | 'taken' | 'recorded'
  distributed: boolean
  /** What is to be retained is so. */
  retained: boolean
  /** What is being done to it; never rejects. */
  busy: Promise<void> | undefined
}

/**
 * The QoS 2 messages that were taken and are not yet released, by session and packet ID. One that is sent again, under its
 * packet ID and with the same content, is the same message and must not become a second event [MQTT-4.3.3-2], with DUP or
 * without: some clients never set it. Other content under its packet ID is a new message, of a device that has forgotten its
 * session: else an event would be acknowledged that nobody has (G1). They are bounded for each device (G7), asked before
 * anything is made of a message.
 */
export class Unreleased {
  readonly #options: UnreleasedOptions
  readonly #bySession = new Map<string, Map<number, Entry>>()
  readonly #ofDevice = new Map<string, number>()
  readonly #underWay = new UnderWay()

  constructor(options: UnreleasedOptions) {
    this.#options = options
  }

  /** What an earlier run took. */
  async load(): Promise<void> {
    for await (const known of this.#options.records.all())
      this.#set({
        ...known,
        clean: undefined,
        state: 'recorded',
        distributed: true,
        retained: true,
        busy: undefined,
      })
  }

  /**
   * Lets `admit` make a message durable once, and then `retain` retain it once, however often and on however many connections it
   * comes. Where only `retain` failed, or the record, the message that is sent again goes on from there.
   * @throws TidegateError `UNRELEASED_MAX`; and whatever `admit` and `retain` throw, or the writing of its record
   */
  async take(
    session: PublisherSession,
    message: Message,
    admit: () => Promise<Verdict>,
    retain?: () => Promise<void>,
  ): Promise<Verdict> {
    const { messageId = 0 } = message
    const digest = digestOf(message)
    let before: Entry | undefined
    while ((before = this.#find(session.id, messageId))) {
      if (before.busy) await before.busy
      else if (isOver(before)) this.#forget(before)
      else if (before.digest === digest) return await this.#repeat(before, retain)
      else await this.#remove(before)
    }
    const entry = this.#begin(session, messageId, digest)
    return await this.#during(entry, async () => {
      const verdict = await this.#admit(entry, admit)
      if (verdict === 'acknowledge') await this.#record(entry, retain)
      return verdict
    })
  }

  /** Asked when a message is to go to its subscribers: true once for each message. */
  distribute(clientId: string, messageId: number): boolean {
    const entry = this.#find(clientId, messageId)
    if (!entry) return true
    const { distributed } = entry
    entry.distributed = true
    return !distributed
  }

  /** Whether there is something to release. */
  has(clientId: string, messageId: number): boolean {
    const entry = this.#find(clientId, messageId)
    return entry !== undefined && entry.state !== 'admitting'
  }

  /** Whether a kept session has any. */
  hasKept(clientId: string): boolean {
    const entries = [...(this.#bySession.get(clientId)?.values() ?? [])]
    return entries.some(({ clean }) => clean === undefined)
  }

  /** When it resolves, the packet ID may stand for another message. */
  async release(clientId: string, messageId: number): Promise<void> {
    const entry = this.#find(clientId, messageId)
    if (entry) await this.#release(entry)
  }

  /** A connection of a clean session begins, which ends whatever was there before, or is over. */
  async end(session: PublisherSession): Promise<void> {
    const entries = [...(this.#bySession.get(session.id)?.values() ?? [])]
    if (!session.closed) await Promise.all(entries.map((entry) => this.#release(entry)))
    else for (const entry of entries) if (entry.clean === session) this.#forget(entry)
  }

  /** Resolves when nothing is being done to any. */
  settled(): Promise<void> {
    return this.#underWay.settled()
  }

  async #admit(entry: Entry, admit: () => Promise<Verdict>): Promise<Verdict> {
    let verdict: Verdict = 'withdrawn'
    try {
      verdict = await admit()
      if (isOver(entry)) verdict = 'withdrawn'
      return verdict
    } finally {
      if (verdict === 'withdrawn') this.#forget(entry)
      else entry.state = 'taken'
    }
  }

  async #repeat(entry: Entry, retain: (() => Promise<void>) | undefined): Promise<Verdict> {
    if (entry.state === 'taken') await this.#during(entry, () => this.#record(entry, retain))
    this.#options.observer.published('duplicate', 1)
    return 'acknowledge'
  }

  async #record(entry: Entry, retain: (() => Promise<void>) | undefined): Promise<void> {
    if (!entry.retained) await retain?.()
    entry.retained = true
    const { clientId, messageId, digest, clean } = entry
    if (!clean) await this.#options.records.write(clientId, messageId, digest)
    entry.state = 'recorded'
  }

  async #release(entry: Entry): Promise<void> {
    while (entry.busy) await entry.busy
    if (this.#find(entry.clientId, entry.messageId) === entry) await this.#remove(entry)
  }

  async #remove(entry: Entry): Promise<void> {
    await this.#during(entry, async () => {
      if (!entry.clean) await this.#options.records.remove(entry.clientId, entry.messageId)
      this.#forget(entry)
    })
  }

  async #during<T>(entry: Entry, work: () => Promise<T>): Promise<T> {
    const done = work().finally(() => {
      entry.busy = undefined
    })
    entry.busy = this.#underWay.track(done).then(ignore, ignore)
    return await done
  }

  #begin(session: PublisherSession, messageId: number, digest: string): Entry {
    const { deviceOf, perDeviceMax, observer } = this.#options
    const deviceId = deviceOf(session.id)
    if ((this.#ofDevice.get(deviceId) ?? 0) >= perDeviceMax) {
      observer.notKept('unreleased')
      throw tooManyUnreleased(deviceId, perDeviceMax)
    }
    const clean = session.clean === true ? session : undefined
    const entry: Entry = {
      clientId: session.id,
      messageId,
      digest,
      clean,
      state: 'admitting',
      distributed: false,
      retained: false,
      busy: undefined,
    }
    this.#set(entry)
    return entry
  }

  #find(clientId: string, messageId: number): Entry | undefined {
    return this.#bySession.get(clientId)?.get(messageId)
  }

  #set(entry: Entry): void {
    const session = this.#bySession.get(entry.clientId) ?? new Map<number, Entry>()
    this.#bySession.set(entry.clientId, session)
    session.set(entry.messageId, entry)
    add(this.#ofDevice, this.#options.deviceOf(entry.clientId), 1)
  }

  #forget(entry: Entry): void {
    const session = this.#bySession.get(entry.clientId)
    if (session?.get(entry.messageId) !== entry) return
    session.delete(entry.messageId)
    if (session.size === 0) this.#bySession.delete(entry.clientId)
    add(this.#ofDevice, this.#options.deviceOf(entry.clientId), -1)
  }
}

function isOver({ clean }: Entry): boolean {
  return clean?.closed === true
}

function ignore(): void {}

/** Half of a SHA-256. */
function digestOf({ topic, payload, retain }: Message): string {
  const about = `${retain ? 'retain' : ''} ${topic.length} ${topic}`
  return createHash('sha256').update(about).update(payload).digest('base64').slice(0, 22)
}

function tooManyUnreleased(deviceId: string, max: number): TidegateError {
  return new TidegateError('UNRELEASED_MAX', {
    message: `${deviceId} has ${max} QoS 2 messages that it has not released`,
    retryable: false,
    hint: 'let it finish what it began; a kept session that is not used any more ends when its client ID connects with a clean one',
  })
}
