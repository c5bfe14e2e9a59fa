import type { Message } from '../admission/admission.ts'
import type { Held, Ingest, Publish, Verdict } from '../admission/ingest.ts'
import { InOrder } from '../sessions/turns.ts'
import type { PublisherSession, Unreleased } from '../sessions/unreleased.ts'
import type { Wills } from '../sessions/wills.ts'
import type { Connection } from './connections.ts'

/** Who publishes: an MQTT session; or its will, which is published in its name when the connection is over. */
export interface PublishingSession extends PublisherSession {
  will?: unknown
}

export type PublishedPacket = Publish & {
  dup: boolean
  messageId?: number | undefined
  /** Of a bridge, which is not to have it back. */
  clientId?: string
}

export interface PublishingParts {
  ingest: Pick<Ingest, 'publish' | 'takeAll'>
  wills: Pick<Wills, 'publish'>
  unreleased: Pick<Unreleased, 'take'>
  /** Gives the message its place among all that is published: what is queued and what is retained are compared by it. */
  number(packet: PublishedPacket): void
  /** What it costs to send it to all who want it. */
  costOf(topic: string): number
  /** Keeps the message for whoever subscribes later, if anybody may be given it. */
  retain(clientId: string, packet: PublishedPacket): Promise<void>
}

/**
 * Which way a publish takes to admission: as a will, once for all that it comes (QoS 2), or straight. The publishes of a
 * connection are admitted together, as one write makes many durable; what becomes of them then, goes in the order in which those
 * of one QoS came: each is numbered, retained and answered when the one before was [MQTT-4.6.0-2, MQTT-4.6.0-5, MQTT-4.6.0-6]. Of
 * two that are retained the last must win, whatever their QoS, and who subscribes when it is answered must find it.
 */
export class Publishing {
  readonly #parts: PublishingParts
  readonly #orderOf = new WeakMap<Connection, Order>()

  constructor(parts: PublishingParts) {
    this.#parts = parts
  }

  /**
   * As `Ingest.publish` does; of a connection that is over nothing but its will is taken. `acknowledge` is called when it may be
   * acknowledged, before anything is that came behind it.
   */
  async publish(
    session: PublishingSession,
    connection: Connection | undefined,
    packet: PublishedPacket,
    acknowledge: () => void = () => {},
  ): Promise<Verdict> {
    if (session.will === packet) {
      const verdict = await this.#publishWill(session.id, packet)
      if (verdict === 'acknowledge') acknowledge()
      return verdict
    }
    if (!connection) return 'withdrawn'
    const order = this.#orderFor(connection)
    // The packet counts as unanswered also while it waits for its turn, and for its record.
    const held = connection.hold([packet])
    try {
      return await order.run(packet, async (turn) => {
        const verdict = await this.#take(session, { connection, held, turn }, packet)
        await turn
        // Whether the message is sent to a subscriber again is another matter [MQTT-3.3.1-3].
        packet.dup = false
        if (verdict === 'acknowledge') acknowledge()
        return verdict
      })
    } finally {
      held.release()
    }
  }

  /**
   * Of messages at QoS 0 and 1 that the connection sent together, to topics of events that nobody has subscribed to: there is nothing
   * to be numbered or retained. `answer` is asked to answer so many more of them, in their order, when it is their turn.
   * @throws as `Ingest.publish` does
   */
  async takeAll(
    connection: Connection,
    messages: readonly Message[],
    answer: (count: number) => Promise<void>,
  ): Promise<void> {
    const { ingest } = this.#parts
    const { deviceId, signal } = connection
    const held = connection.hold(messages)
    const take = async (turn: Promise<void>): Promise<void> => {
      let answers = turn
      try {
        await ingest.takeAll({ deviceId, signal, held }, messages, (count) => {
          answers = answers.then(() => answer(count)).then(() => held.answered(count))
        })
      } finally {
        await answers
      }
    }
    try {
      if (messages.every(({ qos }) => qos === 0)) await take(Promise.resolve())
      else await this.#orderFor(connection).run({ qos: 1, retain: false }, take)
    } finally {
      held.release()
    }
  }

  #orderFor(connection: Connection): Order {
    const order = this.#orderOf.get(connection) ?? new Order()
    this.#orderOf.set(connection, order)
    return order
  }

  async #take(
    session: PublishingSession,
    { connection, held, turn }: Way,
    packet: PublishedPacket,
  ): Promise<Verdict> {
    const { ingest, unreleased } = this.#parts
    const { deviceId, authMethod, signal, isBridge } = connection
    // aedes says so itself when it has been queued for whoever is away.
    if (isBridge) packet.clientId = session.id
    const admit = (): Promise<Verdict> => ingest.publish({ deviceId, authMethod, signal, held }, packet)
    const settle = async (): Promise<void> => {
      await turn
      this.#parts.number(packet)
      connection.noteFanOut(this.#parts.costOf(packet.topic))
      if (packet.retain) await this.#parts.retain(session.id, packet)
    }
    if (packet.qos === 2 && packet.retain) return await unreleased.take(session, packet, admit, settle)
    const verdict = packet.qos === 2 ? await unreleased.take(session, packet, admit) : await admit()
    if (verdict === 'acknowledge') await settle()
    return verdict
  }

  async #publishWill(clientId: string, packet: PublishedPacket): Promise<Verdict> {
    const verdict = await this.#parts.wills.publish(clientId, packet)
    if (verdict !== 'acknowledge') return verdict
    this.#parts.number(packet)
    if (packet.retain) await this.#parts.retain(clientId, packet)
    return verdict
  }
}

/** Of a connection's publishes. What waits for room at one QoS holds up those of another no longer than they have to be (G7). */
class Order {
  readonly #ofQos = [new InOrder(), new InOrder(), new InOrder()] as const
  readonly #retained = new InOrder()

  run<T>(
    { qos, retain }: Pick<PublishedPacket, 'qos' | 'retain'>,
    work: (turn: Promise<void>) => Promise<T>,
  ): Promise<T> {
    const ofQos = this.#ofQos[qos]
    if (!retain) return ofQos.run(work)
    return ofQos.run((turn) => this.#retained.run((retained) => work(turn.then(() => retained))))
  }
}

/** Of one publish. */
interface Way {
  connection: Connection
  held: Held
  /** When those before it are answered. */
  turn: Promise<void>
}
