import { setMaxListeners } from 'node:events'
import type { Chance } from '../plan/chance.ts'
import type { Ingest, Publisher, Verdict } from '../../../edge/admission/ingest.ts'
import type { Gateway } from './gateway.ts'
import type { Journal } from './journal.ts'
import type { Send } from '../plan/plan.ts'
import type { Settings } from '../plan/settings.ts'
import type { Scheduler, Timer } from './scheduler.ts'
import { types } from '../plan/schemas.ts'

export interface DeviceParts {
  scheduler: Scheduler
  journal: Journal
  random: Chance
  gateway: Gateway
  settings: Settings
}

interface Message {
  send: Send
  topic: string
  payload: Buffer
}

/** A device that gets no answer for this long connects again. */
const patienceMs = 30_000
const inFlightMax = 8

/** A sensor with a book: at QoS 1 it keeps each message until it is acknowledged, and sends it again. */
export class Device {
  readonly name: string
  /** Not yet acknowledged, in order. */
  private readonly kept: Message[] = []
  private readonly sent: Message[] = []
  private readonly underWay = new Set<Message>()
  private connection: AbortController | undefined
  private patience: Timer | undefined
  private readonly parts: DeviceParts

  constructor(name: string, parts: DeviceParts) {
    this.name = name
    this.parts = parts
    this.connectSoon(0)
  }

  get quiet(): boolean {
    return this.kept.length === 0
  }

  send(send: Send): void {
    const message = this.messageOf(send)
    this.sent.push(message)
    if (send.qos === 1) {
      this.kept.push(message)
      this.flush()
    } else this.publish([message])
  }

  drop(forMs: number): void {
    const { connection } = this
    if (!connection) return
    this.parts.journal.tell(this.name, 'is disconnected')
    this.connection = undefined
    this.underWay.clear()
    this.patience?.cancel()
    connection.abort()
    this.connectSoon(forMs)
  }

  private connectSoon(delayMs: number): void {
    const { scheduler, gateway, random } = this.parts
    scheduler.after(delayMs + random.between(1, 50), () => {
      if (this.connection) return
      if (!gateway.up) {
        gateway.whenUp(() => this.connectSoon(random.between(0, 2000)))
        return
      }
      const connection = new AbortController()
      // One listener for each publish that waits for room; Node would warn at eleven.
      setMaxListeners(0, connection.signal)
      this.connection = connection
      gateway.whenDown(() => {
        if (this.connection === connection) this.drop(random.between(100, 2000))
      })
      this.flush()
    })
  }

  private flush(): void {
    const waiting = this.kept.filter((message) => !this.underWay.has(message))
    const next = waiting.slice(0, Math.max(0, inFlightMax - this.underWay.size))
    if (this.parts.settings.together) this.publish(next)
    else for (const message of next) this.publish([message])
  }

  private publish(messages: readonly Message[]): void {
    const { connection } = this
    if (!connection || messages.length === 0) return
    for (const message of messages) if (message.send.qos === 1) this.underWay.add(message)
    this.beginPatience(connection)
    void this.carry(messages, connection)
  }

  private async carry(messages: readonly Message[], connection: AbortController): Promise<void> {
    const { gateway, journal, random, settings } = this.parts
    const { ingest, process } = gateway
    if (!ingest || !process) return
    for (const { send } of messages) journal.tell(this.name, `sends ${send.n} ${send.what} (QoS ${send.qos})`)
    const { signal } = connection
    const publisher = { deviceId: this.name, signal }
    let told = 0
    const answered = (count: number): void => {
      const next = messages.slice(told, told + count)
      told += count
      if (!process.alive || signal.aborted) return
      for (const { send } of next) if (send.qos === 1) this.acknowledgedSoon(send, connection)
    }
    let answer: string
    try {
      if (settings.together) answer = await this.take(ingest, publisher, messages, answered)
      else {
        const [{ topic, payload, send }] = messages as [Message]
        answer = await ingest.publish(publisher, { topic, payload, qos: send.qos, retain: false })
        if (answer === 'acknowledge') answered(1)
      }
    } catch (error) {
      answer = String(error)
    }
    const isAwaited = messages.some(({ send }, index) => send.qos === 1 && index >= told)
    if (!process.alive || signal.aborted || !isAwaited) return
    journal.tell(this.name, `is cut off: ${answer}`)
    if (this.connection === connection) this.drop(random.between(500, 3000))
  }

  /** As the door does with what one read has brought. */
  private take(
    ingest: Ingest,
    publisher: Publisher,
    messages: readonly Message[],
    answered: (count: number) => void,
  ): Promise<Verdict> {
    const taken = messages.map(({ topic, payload, send: { qos } }) => {
      const match = ingest.eventAt(this.name, topic)
      if (!match) throw new Error(`${topic} is no topic of events`)
      return { deviceId: this.name, topic, payload, qos, match }
    })
    return ingest.takeAll(publisher, taken, answered)
  }

  private acknowledgedSoon(send: Send, connection: AbortController): void {
    const { journal, scheduler, random } = this.parts
    scheduler.after(random.between(0.1, 5), () => {
      if (this.connection !== connection) return
      const at = this.kept.findIndex((message) => message.send === send)
      const message = this.kept[at]
      if (!message) return
      this.kept.splice(at, 1)
      this.underWay.delete(message)
      journal.tell(this.name, `has ${send.n} acknowledged`)
      this.beginPatience(connection)
      this.flush()
    })
  }

  private beginPatience(connection: AbortController): void {
    this.patience?.cancel()
    if (this.underWay.size === 0) return
    this.patience = this.parts.scheduler.after(patienceMs, () => {
      if (this.connection === connection) this.drop(100)
    })
  }

  private messageOf(send: Send): Message {
    const repeated = send.what === 'repeat' ? this.sent.at(-send.back) : undefined
    if (repeated) return { ...repeated, send }
    const id = `${send.what}-${send.n}`
    const type = send.what === 'alarm' ? types.alarm : send.what === 'brief' ? types.brief : types.reading
    const topic = `devices/${this.name}/events/${type}`
    return { send, topic, payload: payloadOf(send, id, this.parts.settings.newer.includes(this.name)) }
  }
}

function payloadOf({ what, n }: Send, id: string, isNewer: boolean): Buffer {
  if (what === 'malformed') return Buffer.from(`{"value": ${n}`)
  if (what === 'reading' && isNewer)
    return Buffer.from(JSON.stringify({ specversion: '1.0', id, data: { level: n % 1000 } }))
  const value = what === 'violation' ? 'high' : what === 'disputed' ? 1000 + n : n
  return Buffer.from(JSON.stringify({ specversion: '1.0', id, data: { value } }))
}
