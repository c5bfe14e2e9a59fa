import type { AedesPublishPacket, Client } from 'aedes'
import type { Clock } from '../src/clock.ts'
import { TidegateError } from '../src/errors.ts'
import type { Connection } from './connections.ts'

type Published = AedesPublishPacket & { clientId?: string }
type Deliver = (packet: Published, delivered: () => void) => void

/** What aedes calls to send a message to a subscriber; missing in its types. */
interface Subscriber {
  broker: { clients: Record<string, Client> }
  deliver0: Deliver
  deliverQoS: Deliver
  /** The last message sent, by broker; aedes drops what is not after it. */
  duplicates: Record<string, number>
  /** Called instead of `delivered` while the socket is full. */
  waitForDrain(callback: () => void): void
}

interface Delivery {
  as: Deliver
  qos: 0 | 1
  packet: Published
  delivered: () => void
  /** Of the publisher, which is not read while this waits. */
  connection?: Pause | undefined
}

type Pause = Pick<Connection, 'pause' | 'resume'>

export interface FanOutOptions {
  clock: Pick<Clock, 'after'>
  connectionOf: (publisher: Client) => Pause | undefined
  /** A message of this QoS is not sent. */
  unsent: (qos: 0 | 1) => void
}

/** What may wait to be sent to one subscriber, and one message of the greatest size more. */
const unsentBytesMax = 1 << 20
const unsentMessagesMax = 1000
/** Given to aedes at a time: for a session that is kept, each is written to the disk first. */
const atOnceMax = 100
const patienceMs = 5000

/**
 * A subscriber that does not read holds up nobody. aedes holds a publisher back until each subscriber's socket has
 * drained, however long that takes. Here only so much waits to be sent to one subscriber (G7), and beyond it publishers
 * wait for a moment, so that one that reads slowly misses nothing; then what it is not sent is told to `unsent`, with its
 * QoS. Retained and queued messages are sent one after the other, as the socket drains, and are not touched.
 */
export function holdsUpNobody(client: Client, { clock, connectionOf, unsent }: FanOutOptions): void {
  const subscriber = client as Client & Subscriber
  const { deliver0, deliverQoS, broker } = subscriber
  const waitForDrain = subscriber.waitForDrain.bind(client)
  const sending = new Set<Delivery>()
  const waiting: Delivery[] = []
  let patience: { cancel(): void } | undefined
  /** It was waited for in vain, and has not drained since. */
  let slow = false
  let messages = 0
  let bytes = 0
  let last: number | undefined

  const hasRoom = (): boolean =>
    sending.size < atOnceMax && messages < unsentMessagesMax && bytes < unsentBytesMax
  /** While the socket takes everything, what is unsent waits for our own disk or a turn, which pass. */
  const isFull = (): boolean =>
    client.conn.writableNeedDrain && (messages >= unsentMessagesMax || bytes >= unsentBytesMax)

  function deliver(as: Deliver, qos: 0 | 1, packet: Published, delivered: () => void): void {
    const delivery: Delivery = { as, qos, packet, delivered }
    if (!isFull()) slow = false
    if (slow) giveUp(delivery)
    else if (waiting.length === 0 && hasRoom()) send(delivery)
    else {
      const publisher = packet.clientId === undefined ? undefined : broker.clients[packet.clientId]
      delivery.connection = publisher && connectionOf(publisher)
      // aedes reads on, whatever still waits.
      delivery.connection?.pause()
      waiting.push(delivery)
      proceed()
    }
  }

  function proceed(): void {
    while (hasRoom()) {
      const delivery = waiting.shift()
      if (!delivery) break
      send(delivery)
      delivery.connection?.resume()
    }
    if (waiting.length > 0 && isFull()) patience ??= clock.after(patienceMs, loseIt)
    else {
      patience?.cancel()
      patience = undefined
    }
  }

  function send(delivery: Delivery): void {
    const { as, packet, delivered } = delivery
    // One for several subscriptions comes for one right after the other; any other that comes after a later one was
    // overtaken, and is no duplicate.
    if (packet.brokerCounter !== last) subscriber.duplicates[packet.brokerId] = packet.brokerCounter - 1
    last = packet.brokerCounter
    const size = packet.payload.length
    sending.add(delivery)
    messages += 1
    bytes += size
    as(packet, () => {
      messages -= 1
      bytes -= size
      if (sending.delete(delivery)) delivered()
      proceed()
    })
  }

  function loseIt(): void {
    patience = undefined
    slow = true
    for (const delivery of waiting.splice(0)) {
      giveUp(delivery)
      delivery.connection?.resume()
    }
  }

  function giveUp({ qos, delivered }: Delivery): void {
    unsent(qos)
    setImmediate(delivered)
  }

  subscriber.waitForDrain = (callback) => {
    waitForDrain(callback)
    // It is on its way: publishers do not wait for a socket.
    for (const { delivered } of sending) setImmediate(delivered)
    sending.clear()
    proceed()
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

/** Sent because of a new subscription: aedes makes it nobody's. */
function isRetained({ brokerId }: Published): boolean {
  return !brokerId
}

export function subscriberSlow(deviceId: string): TidegateError {
  return new TidegateError('SUBSCRIBER_SLOW', {
    message: `${deviceId} does not read what it subscribed to: ${unsentMessagesMax} messages or ${unsentBytesMax} bytes have waited to be sent for ${patienceMs} ms`,
    retryable: true,
    hint: 'let it read faster or subscribe to less; a kept session gets what it missed when it connects again',
  })
}
