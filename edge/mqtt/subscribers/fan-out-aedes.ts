import type { Aedes, AedesPublishPacket, Client } from 'aedes'
import type { Clock } from '../../../src/clock.ts'
import { TopicTree } from '../../admission/routes/topic-tree.ts'
import type { RetainedMessage } from '../../sessions/retained-level.ts'
import type { Sessions } from '../../sessions/sessions-level.ts'
import { RetainedQueue } from './retained.ts'
import type { Subscriber } from './subscribing.ts'
import { costOfDelivery, costOfMatch } from '../door/costs.ts'
import { type Delivery, type Pause, Unsent } from './unsent.ts'

type Published = AedesPublishPacket & { clientId?: string }
type Deliver = (packet: Published, delivered: () => void) => void

/** What aedes calls to send a message to a subscriber; missing in its types. */
interface Sender {
  broker: Aedes & { clients: Record<string, Client>; counter: number }
  deliver0: Deliver
  deliverQoS: Deliver
  /** The last message sent, by broker; aedes drops what is not after it. */
  duplicates: Record<string, number>
  /** Called instead of `delivered` while the socket is full. */
  waitForDrain(callback: () => void): void
}

interface AedesDelivery extends Delivery {
  packet: Published
  /** Whether the message is to be retained, which not every subscriber is told. */
  isRetained: boolean
}

export interface FanOutOptions {
  clock: Pick<Clock, 'after'>
  sessions: Pick<Sessions, 'packetIds' | 'kept' | 'queue' | 'retained'>
  deviceOf: (clientId: string) => string
  connectionOf: (client: Client) => (Pause & { readonly isBridge: boolean }) | undefined
  mayRead: (client: Client, topic: string) => boolean
  /** A message of this QoS is not sent. */
  onUnsent: (client: Client, qos: 0 | 1) => void
  /** It is not sent a message, since each packet ID stands for one that it has not acknowledged. */
  onUnacknowledged: (client: Client) => void
}

/**
 * Who is connected and wants which topics, in the place of aedes' emitter: to each subscriber one copy of a message, at the
 * highest QoS that any of its subscriptions was granted [MQTT-3.3.5-1], and no higher [MQTT-3.8.4-6]. The emitter throws at a
 * hundred levels, and calls each subscription by itself.
 */
export class FanOut {
  readonly #options: FanOutOptions
  readonly #tree = new TopicTree<AedesSubscriber, number>()
  readonly #of = new WeakMap<Client, AedesSubscriber>()
  /** Of the topic that was looked up last. */
  #found: Found | undefined

  constructor(options: FanOutOptions) {
    this.#options = options
  }

  /** A connection begins. */
  attach(client: Client): AedesSubscriber {
    const subscriber = new AedesSubscriber(client, this.#tree, this.#options)
    this.#of.set(client, subscriber)
    return subscriber
  }

  of(client: Client): AedesSubscriber | undefined {
    return this.#of.get(client)
  }

  /** Of all subscriptions of those who are connected: grows with each change. */
  get changes(): number {
    return this.#tree.changes
  }

  /** Whether anybody who is connected has subscribed to it. */
  wants(topic: string): boolean {
    return this.#tree.has(topic)
  }

  /** Calls back when each subscriber was sent it, or its publisher need not wait. */
  emit(packet: Published, done: () => void): void {
    if (this.#tree.isEmpty) return done()
    const { wanted } = this.#find(packet.topic)
    let waiting = wanted.size
    if (waiting === 0) return done()
    for (const [subscriber, qos] of wanted)
      subscriber.deliver(packet, qos, () => {
        waiting -= 1
        if (waiting === 0) done()
      })
  }

  /** What it costs to send what is published to this topic to all who want it, in the units of `door/costs.ts`. */
  costOf(topic: string): number {
    if (this.#tree.isEmpty) return 0
    const { wanted, matches } = this.#find(topic)
    return matches * costOfMatch + wanted.size * costOfDelivery
  }

  #find(topic: string): Found {
    const { changes } = this.#tree
    if (this.#found?.topic === topic && this.#found.changes === changes) return this.#found
    const wanted = new Map<AedesSubscriber, number>()
    let matches = 0
    this.#tree.match(topic, (subscriber, qos) => {
      matches += 1
      if ((wanted.get(subscriber) ?? -1) < qos) wanted.set(subscriber, qos)
    })
    this.#found = { topic, changes, wanted, matches }
    return this.#found
  }

  // Nobody but aedes listens, for what other brokers of a cluster would say.
  on(): void {}
  removeListener(): void {}

  close(done: () => void): void {
    setImmediate(done)
  }
}

/** Who wants a topic, at which QoS, and by how many filters in all. */
interface Found {
  topic: string
  changes: number
  wanted: ReadonlyMap<AedesSubscriber, number>
  matches: number
}

/**
 * A connection that subscribes. If it does not read, it holds up nobody: aedes holds a publisher back until each subscriber's
 * socket has drained, however long that takes; here `Unsent` stands between. Queued messages are sent one after the other, as
 * the socket drains, and are not touched; retained ones too.
 */
class AedesSubscriber implements Subscriber {
  readonly filters = new Map<string, number>()
  readonly #client: Client & Sender
  readonly #tree: TopicTree<AedesSubscriber, number>
  readonly #options: FanOutOptions
  readonly #unsent: Unsent<AedesDelivery>
  readonly #retained: RetainedQueue
  #hasBegun = false
  /** Of a message that is to be sent with RETAIN: when its record is written, and it is on its way. */
  #record: Promise<void> | undefined

  constructor(client: Client, tree: TopicTree<AedesSubscriber, number>, options: FanOutOptions) {
    this.#client = client as Client & Sender
    this.#tree = tree
    this.#options = options
    this.#unsent = new Unsent({
      clock: options.clock,
      send: ({ packet }, sent) => this.#send(packet, sent),
      isSocketFull: () => client.conn.writableNeedDrain,
      pauseOf: ({ packet: { clientId } }) => {
        const publisher = clientId === undefined ? undefined : this.#client.broker.clients[clientId]
        return publisher && options.connectionOf(publisher)
      },
      onUnsent: ({ packet: { topic }, qos, isRetained }) => {
        if (isRetained) this.#retained.noteUnsent(topic)
        options.onUnsent(client, qos)
      },
    })
    this.#retained = new RetainedQueue({
      read: (filter) => options.sessions.retained.read(filter),
      numberOf: ({ brokerId, brokerCounter }) =>
        brokerId === this.#client.broker.id ? brokerCounter : undefined,
      send: (message, qos) => this.#sendRetained(message, qos),
      begun: new Promise((resolve) => client.once('connected', () => resolve())),
      isOver: () => client.closed,
    })
    this.#follow()
  }

  get id(): string {
    return this.#client.id
  }

  get clean(): boolean {
    return this.#client.clean
  }

  hasRoom(filter: string): boolean {
    const { sessions, deviceOf } = this.#options
    return sessions.kept.deepFilters.hasRoom(deviceOf(this.id), filter)
  }

  subscribe(filter: string, qos: number): void {
    const { sessions, deviceOf } = this.#options
    if (this.#client.closed) return
    // What a kept session wants is counted where it is kept.
    if (this.clean && !this.filters.has(filter)) sessions.kept.deepFilters.add(deviceOf(this.id), filter)
    this.filters.set(filter, qos)
    this.#tree.set(filter, this, qos)
  }

  unsubscribe(filter: string): void {
    if (!this.filters.delete(filter)) return
    const { sessions, deviceOf } = this.#options
    if (this.clean) sessions.kept.deepFilters.remove(deviceOf(this.id), filter)
    this.#tree.delete(filter, this)
    this.#retained.forget(filter)
  }

  askRetained(filter: string, qos: number): void {
    this.#retained.ask(filter, qos)
  }

  write(packet: Buffer): Promise<void> {
    return new Promise((resolve) => {
      if (this.#client.conn.destroyed || this.#client.conn.write(packet)) resolve()
      else this.#client.conn.once('drain', resolve)
    })
  }

  /** Something of a session's queue is sent, or of what is published, once the session has begun. */
  noteSent({ brokerId, brokerCounter }: AedesPublishPacket): void {
    // A message of an earlier run is not published now.
    if (!this.#hasBegun && brokerId === this.#client.broker.id) this.#unsent.noteSentFromQueue(brokerCounter)
  }

  deliver(published: Published, granted: number, delivered: () => void): void {
    const isBridge = this.#options.connectionOf(this.#client)?.isBridge === true
    // A bridge is not sent what it has published itself, and is told what is retained.
    const isOwn = isBridge && published.clientId === this.id
    if (this.#client.closed || isOwn) return void setImmediate(delivered)
    if (published.retain && !this.#isNew(published)) return this.#drop(published, delivered)
    const qos = Math.min(published.qos, granted) as 0 | 1 | 2
    this.#unsent.deliver({
      packet: { ...published, qos, retain: isBridge && published.retain },
      isRetained: published.retain,
      qos: qos === 0 ? 0 : 1,
      bytes: published.payload.length,
      counter: published.brokerCounter,
      delivered,
    })
  }

  /** It was sent as a retained message: of a kept session it would come again out of the queue. */
  #drop(published: Published, delivered: () => void): void {
    if (this.clean) return void setImmediate(delivered)
    // What could not be removed comes twice.
    this.#options.sessions.queue.discard(this.id, published).then(delivered, delivered)
  }

  #isNew({ topic, brokerCounter }: Published): boolean {
    return this.#retained.notePublished(topic, brokerCounter)
  }

  #follow(): void {
    const client = this.#client
    const waitForDrain = client.waitForDrain.bind(client)
    client.waitForDrain = (callback) => {
      waitForDrain(callback)
      this.#unsent.onItsWay()
    }
    client.once('connected', () => {
      this.#hasBegun = true
      this.#unsent.begin()
    })
    client.conn.once('close', () => {
      this.#unsent.end()
      for (const filter of this.filters.keys()) this.unsubscribe(filter)
    })
  }

  /**
   * `sent` is called when the message needs no room here any more. `keep` makes the record of a kept session, if it has none
   * yet of a message with RETAIN. Whatever is sent later comes later: a message that is no longer retained must not come last.
   */
  #send(packet: Published, sent: () => void, keep?: () => Promise<void>): void {
    const { packetIds } = this.#options.sessions
    const client = this.#client
    const send = (deliver: Deliver): void => {
      // To each subscriber a message comes once: one that comes after a later one was overtaken, and is no duplicate.
      client.duplicates[packet.brokerId] = packet.brokerCounter - 1
      deliver(packet, sent)
    }
    if (client.closed) return void setImmediate(sent)
    if (packet.qos === 0) return this.#sendInTurn(() => send(client.deliver0))
    const messageId = packetIds.next(client)
    if (messageId === undefined) {
      this.#options.onUnacknowledged(client)
      return void setImmediate(sent)
    }
    packet.messageId = messageId
    const sendQoS = (): void => send(client.deliverQoS)
    if (packet.retain && !client.clean) this.#sendRecorded(packet, sendQoS, keep)
    else this.#sendInTurn(sendQoS)
  }

  #sendInTurn(send: () => void): void {
    if (this.#record) void this.#record.then(send)
    else send()
  }

  /**
   * aedes notes no packet ID of what it sends with RETAIN. What it notes, it notes in the next turn of the event loop: what comes
   * before this message goes before it, and what comes after waits [MQTT-4.6.0-6].
   */
  #sendRecorded(packet: Published, send: () => void, keep?: () => Promise<void>): void {
    const { sessions } = this.#options
    const record = (this.#record ?? Promise.resolve())
      .then(() => new Promise((resolve) => setImmediate(resolve)))
      .then(keep)
      .then(() => sessions.queue.update(this.#client, packet))
      .then(send, send)
    this.#record = record
    void record.finally(() => {
      if (this.#record === record) this.#record = undefined
    })
  }

  async #sendRetained(message: RetainedMessage, qos: number): Promise<void> {
    const { sessions, mayRead } = this.#options
    const { broker } = this.#client
    const { topic, payload } = message
    if (!mayRead(this.#client, topic)) return
    const packet = {
      cmd: 'publish',
      brokerId: broker.id,
      // Of its own: the session may have had the message before.
      brokerCounter: ++broker.counter,
      topic,
      payload,
      qos,
      retain: true,
      dup: false,
    } as Published
    const keep = (): Promise<void> => sessions.queue.keepRetained(this.id, packet)
    await new Promise<void>((sent) => this.#send(packet, sent, keep))
    // It may have been published when the subscription was kept, and not yet in force here.
    if (!this.clean) await sessions.queue.discard(this.id, message)
  }
}
