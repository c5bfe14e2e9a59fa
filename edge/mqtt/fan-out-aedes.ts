import type { AedesPublishPacket, Client } from 'aedes'
import type { Clock } from '../../src/clock.ts'
import { type Delivery, type Pause, Unsent } from './unsent.ts'

type Published = AedesPublishPacket & { clientId?: string }
type Deliver = (packet: Published, delivered: () => void) => void

/** What aedes calls to send a message to a subscriber; missing in its types. */
interface Subscriber {
  broker: { id: string; clients: Record<string, Client> }
  deliver0: Deliver
  deliverQoS: Deliver
  /** The last message sent, by broker; aedes drops what is not after it. */
  duplicates: Record<string, number>
  /** Called instead of `delivered` while the socket is full. */
  waitForDrain(callback: () => void): void
}

interface AedesDelivery extends Delivery {
  as: Deliver
  packet: Published
}

export interface FanOutOptions {
  clock: Pick<Clock, 'after'>
  connectionOf: (publisher: Client) => Pause | undefined
  /** A message of this QoS is not sent. */
  onUnsent: (qos: 0 | 1) => void
}

/** Of sessions that have not been sent all that was queued for them. */
const notBegun = new WeakMap<Client, Unsent<AedesDelivery>>()

/** Something of a session's queue is sent, or of what is published, once the session has begun. */
export function noteSent(client: Client, { brokerId, brokerCounter }: AedesPublishPacket): void {
  // A message of an earlier run is not published now.
  if (brokerId === (client as Client & Subscriber).broker.id)
    notBegun.get(client)?.noteSentFromQueue(brokerCounter)
}

/**
 * A subscriber that does not read holds up nobody. aedes holds a publisher back until each subscriber's socket has
 * drained, however long that takes; here `Unsent` stands between. Retained and queued messages are sent one after the
 * other, as the socket drains, and are not touched.
 */
export function holdsUpNobody(client: Client, { clock, connectionOf, onUnsent }: FanOutOptions): void {
  const subscriber = client as Client & Subscriber
  const { deliver0, deliverQoS, broker } = subscriber
  const waitForDrain = subscriber.waitForDrain.bind(client)
  const unsent = new Unsent<AedesDelivery>({
    clock,
    send: sendInOrder(subscriber),
    isSocketFull: () => client.conn.writableNeedDrain,
    pauseOf({ packet: { clientId } }) {
      const publisher = clientId === undefined ? undefined : broker.clients[clientId]
      return publisher && connectionOf(publisher)
    },
    onUnsent,
  })
  const deliver = (as: Deliver, qos: 0 | 1, packet: Published, delivered: () => void): void =>
    unsent.deliver({
      as,
      qos,
      packet,
      delivered,
      bytes: packet.payload.length,
      counter: packet.brokerCounter,
    })

  notBegun.set(client, unsent)
  client.once('connected', () => {
    notBegun.delete(client)
    unsent.begin()
  })
  client.conn.once('close', () => unsent.end())
  subscriber.waitForDrain = (callback) => {
    waitForDrain(callback)
    unsent.onItsWay()
  }
  subscriber.deliver0 = (packet, delivered) => {
    if (isRetained(packet)) deliver0(packet, delivered)
    else deliver(deliver0, 0, packet, delivered)
  }
  subscriber.deliverQoS = (packet, delivered) => {
    if (isRetained(packet)) deliverQoS(packet, delivered)
    else if (packet.qos === 0) deliver(deliver0, 0, packet, delivered)
    else deliver(deliverQoS, 1, packet, delivered)
  }
}

/**
 * One message for several subscriptions comes for one right after the other; any other that comes after a later one was
 * overtaken, and is no duplicate.
 */
function sendInOrder(subscriber: Subscriber): (delivery: AedesDelivery, sent: () => void) => void {
  let last: number | undefined
  return ({ as, packet }, sent) => {
    if (packet.brokerCounter !== last) subscriber.duplicates[packet.brokerId] = packet.brokerCounter - 1
    last = packet.brokerCounter
    as(packet, sent)
  }
}

/** Sent because of a new subscription: aedes makes it nobody's. */
function isRetained({ brokerId }: Published): boolean {
  return !brokerId
}
