import type { AedesPublishPacket, Client } from 'aedes'
import type { Clock } from '../../src/clock.ts'
import { TidegateError } from '../../src/errors.ts'
import type { Connection } from './connections.ts'

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

interface Delivery {
  as: Deliver
  qos: 0 | 1
  packet: Published
  delivered: () => void
  bytes: number
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

/** Of sessions that have not been sent all that was queued for them: the counters of what was sent. */
const sentFromQueue = new WeakMap<Client, Set<number>>()

/** Something of a session's queue is sent, or of what is published, once the session has begun. */
export function noteSent(client: Client, { brokerId, brokerCounter }: AedesPublishPacket): void {
  // Of an earlier run: it is not published now.
  if (brokerId === (client as Client & Subscriber).broker.id) sentFromQueue.get(client)?.add(brokerCounter)
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
 * QoS. Retained and queued messages are sent one after the other, as the socket drains, and are not touched; until a
 * session has been sent what was queued for it, what is published waits, and no publisher does below those bounds.
 */
export function holdsUpNobody(client: Client, { clock, connectionOf, unsent }: FanOutOptions): void {
  const subscriber = client as Client & Subscriber
  const { deliver0, deliverQoS, broker } = subscriber
  const waitForDrain = subscriber.waitForDrain.bind(client)
  const sending = new Set<Delivery>()
  const waiting: Delivery[] = []
  let waitingBytes = 0
  /** A kept session's subscriptions are there before its CONNACK, and before what was queued for it is sent. */
  let begun = false
  /** What was queued just before the queue was read is published to its session too. */
  const sent = new Set<number>()
  let patience: { cancel(): void } | undefined
  /** It was waited for in vain, and has not drained since. */
  let slow = false
  let messages = 0
  let bytes = 0
  let last: number | undefined

  const hasRoom = (): boolean => begun && sending.size < atOnceMax && !isOver(messages, bytes)
  /** While the socket takes everything, what is unsent waits for our own disk or a turn, which pass. */
  const isFull = (): boolean =>
    begun ? client.conn.writableNeedDrain && isOver(messages, bytes) : isOver(waiting.length, waitingBytes)

  function deliver(as: Deliver, qos: 0 | 1, packet: Published, delivered: () => void): void {
    const delivery: Delivery = { as, qos, packet, delivered, bytes: packet.payload.length }
    if (!isFull()) slow = false
    if (slow) giveUp(delivery)
    else if (waiting.length === 0 && hasRoom()) send(delivery)
    else {
      if (begun || isFull()) holdPublisher(delivery)
      else release(delivery)
      waiting.push(delivery)
      waitingBytes += delivery.bytes
      proceed()
    }
  }

  /** aedes reads on, whatever still waits. */
  function holdPublisher(delivery: Delivery): void {
    const { clientId } = delivery.packet
    const publisher = clientId === undefined ? undefined : broker.clients[clientId]
    delivery.connection = publisher && connectionOf(publisher)
    delivery.connection?.pause()
  }

  /** It comes after what was kept for its subscriber, which may take long: publishers do not wait for that. */
  function release(delivery: Delivery): void {
    setImmediate(delivery.delivered)
    delivery.delivered = () => {}
  }

  function proceed(): void {
    while (hasRoom()) {
      const delivery = waiting.shift()
      if (!delivery) break
      waitingBytes -= delivery.bytes
      if (sent.has(delivery.packet.brokerCounter)) release(delivery)
      else send(delivery)
      delivery.connection?.resume()
    }
    if (begun && waiting.length === 0) sent.clear()
    if (waiting.length > 0 && isFull()) patience ??= clock.after(patienceMs, loseIt)
    else {
      patience?.cancel()
      patience = undefined
    }
  }

  function send(delivery: Delivery): void {
    const { as, packet } = delivery
    // One for several subscriptions comes for one right after the other; any other that comes after a later one was
    // overtaken, and is no duplicate.
    if (packet.brokerCounter !== last) subscriber.duplicates[packet.brokerId] = packet.brokerCounter - 1
    last = packet.brokerCounter
    sending.add(delivery)
    messages += 1
    bytes += delivery.bytes
    as(packet, () => {
      messages -= 1
      bytes -= delivery.bytes
      if (sending.delete(delivery)) delivery.delivered()
      proceed()
    })
  }

  function loseIt(): void {
    patience = undefined
    slow = true
    empty(giveUp)
  }

  function empty(settle: (delivery: Delivery) => void): void {
    waitingBytes = 0
    for (const delivery of waiting.splice(0)) {
      settle(delivery)
      delivery.connection?.resume()
    }
  }

  function giveUp({ qos, delivered }: Delivery): void {
    unsent(qos)
    setImmediate(delivered)
  }

  sentFromQueue.set(client, sent)
  client.once('connected', () => {
    sentFromQueue.delete(client)
    begun = true
    proceed()
  })
  client.conn.once('close', () => {
    // What was queued for it stays queued.
    if (!begun) empty(release)
    begun = true
    proceed()
  })
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

function isOver(messages: number, bytes: number): boolean {
  return messages >= unsentMessagesMax || bytes >= unsentBytesMax
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
