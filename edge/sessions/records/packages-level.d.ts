/** The part of the package that we build on; it ships no types. */
declare module 'aedes-persistence-level/asyncPersistence.js' {
  import type { Duplex, Readable } from 'node:stream'

  interface ClientLike {
    id: string
    clean?: boolean
    closed?: boolean
    conn?: Duplex
  }
  interface SubscriptionLike {
    topic: string
    qos: number
    clientId?: string
  }
  interface PacketLike {
    cmd?: string
    topic?: string
    payload?: string | Buffer | undefined
    qos?: 0 | 1 | 2 | undefined
    retain?: boolean
    /** Of a queued message: whether its publisher set RETAIN, which only a bridge is told. */
    retainAsPublished?: boolean
    dup?: boolean
    messageId?: number | undefined
    /** Of a bridge that published it, and is not to have it back. */
    clientId?: string | undefined
    brokerId?: string | undefined
    brokerCounter?: number | undefined
  }

  export default class AsyncLevelPersistence {
    constructor(db: object)
    setup(broker: object): Promise<void>
    storeRetained(packet: PacketLike): Promise<void>
    subscriptionsByClient(client: ClientLike): Promise<SubscriptionLike[]>
    subscriptionsByTopic(topic: string): Promise<SubscriptionLike[]>
    cleanSubscriptions(client: ClientLike): Promise<void>
    outgoingEnqueueCombi(subscriptions: SubscriptionLike[], packet: PacketLike): Promise<unknown>
    outgoingUpdate(client: ClientLike, packet: PacketLike): Promise<void>
    outgoingClearMessageId(client: ClientLike, packet: PacketLike): Promise<PacketLike | undefined>
    outgoingStream(client: ClientLike): Readable
    incomingStorePacket(client: ClientLike, packet: PacketLike): Promise<void>
    incomingDelPacket(client: ClientLike, packet: PacketLike): Promise<void>
    cleanIncoming(client: ClientLike): Promise<void>
    incomingGetPacket(client: ClientLike, packet: PacketLike): Promise<PacketLike>
    putWill(client: ClientLike, will: PacketLike): Promise<void>
    delWill(client: ClientLike): Promise<PacketLike | undefined>
    streamWill(brokers: object): Readable
    destroy(): Promise<void>
  }
}

/** The part of the package that we use; it ships no types. */
declare module 'msgpack-lite' {
  export function encode(value: object): Buffer
  export function decode(input: Uint8Array): unknown
  export function encode(input: object): Buffer
}
