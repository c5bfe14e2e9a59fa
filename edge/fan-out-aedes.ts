import type { AedesPublishPacket, Client } from 'aedes'
import { TidegateError } from '../src/errors.ts'

type Deliver = (packet: AedesPublishPacket, delivered: () => void) => void

/** What aedes calls to send a message to a subscriber; missing in its types. */
interface Subscriber {
  deliver0: Deliver
  deliverQoS: Deliver
  /** The last message sent, by broker; aedes drops what is not after it. */
  duplicates: Record<string, number>
  /** Called instead of `delivered` while the socket is full. */
  waitForDrain(callback: () => void): void
}

/** What may wait to be sent to one subscriber, and one message of the greatest size more. */
const unsentBytesMax = 1 << 20
const unsentMessagesMax = 1000

/**
 * A subscriber that does not read holds up nobody else. aedes gives a message one of 100 places until it was sent
 * to each subscriber, and waits while a socket is full: one subscriber would hold all places until its drain timeout.
 * Here nobody waits for a full socket; what it is still sent is bounded (G7), and the rest is told to `unsent` with
 * its QoS. Retained and queued messages are sent one after the other, as the socket drains, and are not touched.
 */
export function holdsUpNobody(client: Client, unsent: (qos: 0 | 1) => void): void {
  const subscriber = client as Client & Subscriber
  const { deliver0, deliverQoS } = subscriber
  const waitForDrain = subscriber.waitForDrain.bind(client)
  const places = new Set<() => void>()
  let messages = 0
  let bytes = 0
  let last: number | undefined

  function deliver(as: Deliver, qos: 0 | 1, packet: AedesPublishPacket, delivered: () => void): void {
    // While the socket takes everything, what is unsent waits for our own disk or a turn, which pass.
    if (client.conn.writableNeedDrain && (messages >= unsentMessagesMax || bytes >= unsentBytesMax)) {
      unsent(qos)
      setImmediate(delivered)
      return
    }
    // One for several subscriptions comes for one right after the other; any other that comes after a later one was
    // overtaken, and is no duplicate.
    if (packet.brokerCounter !== last) subscriber.duplicates[packet.brokerId] = packet.brokerCounter - 1
    last = packet.brokerCounter
    const size = packet.payload.length
    const free = (): void => {
      if (places.delete(free)) delivered()
    }
    places.add(free)
    messages += 1
    bytes += size
    as(packet, () => {
      messages -= 1
      bytes -= size
      free()
    })
  }

  subscriber.waitForDrain = (callback) => {
    waitForDrain(callback)
    for (const free of places) setImmediate(free)
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
function isRetained({ brokerId }: AedesPublishPacket): boolean {
  return !brokerId
}

export function subscriberSlow(deviceId: string): TidegateError {
  return new TidegateError('SUBSCRIBER_SLOW', {
    message: `${deviceId} does not read what it subscribed to: ${unsentMessagesMax} messages or ${unsentBytesMax} bytes wait to be sent`,
    retryable: true,
    hint: 'let it read faster or subscribe to less; a kept session gets what it missed when it connects again',
  })
}
