import { checkText } from './fields.ts'

/** Which PUBLISH packets the door takes out of the stream itself, in the broker's place: of QoS 0 and 1, not retained. */
export interface Taking<Topic> {
  /** What there is to know of a topic; undefined: nothing that is published to it is taken. Asked once, mostly. */
  topicOf(topic: string): Topic | undefined
  /** Whether what is published to it may be taken now. */
  mayTake(topic: Topic): boolean
}

export interface TakenPublish<Topic> {
  topic: Topic
  qos: 0 | 1
  /** 0 at QoS 0. */
  packetId: number
  /** A part of what was read: to be used, and not kept. */
  payload: Buffer
}

/** A longer packet goes to the broker in pieces, as it comes. */
export const takenBytesMax = 64 * 1024

const topicsMax = 64
const topicBytesMax = 256

/** Topics of one connection, by their bytes: each is read, checked and looked up once. */
export class TakenTopics<Topic> {
  readonly #taking: Taking<Topic>
  /** By the topic's bytes as Latin-1; null: not taken. */
  readonly #known = new Map<string, Topic | null>()

  constructor(taking: Taking<Topic>) {
    this.#taking = taking
  }

  /** What may be taken of what is published to the topic that lies there. @throws PacketError it is no topic */
  find(bytes: Buffer, start: number, end: number): Topic | undefined {
    if (end - start > topicBytesMax) {
      checkTopic(bytes, start, end)
      return undefined
    }
    const key = bytes.toString('latin1', start, end)
    let topic = this.#known.get(key)
    if (topic === undefined) {
      checkTopic(bytes, start, end)
      topic = this.#taking.topicOf(bytes.toString('utf8', start, end)) ?? null
      if (this.#known.size === topicsMax) this.#known.clear()
      this.#known.set(key, topic)
    }
    return topic !== null && this.#taking.mayTake(topic) ? topic : undefined
  }
}

/** @throws PacketError */
export function checkTopic(bytes: Buffer, start: number, end: number): void {
  checkText(bytes, start, end, 'topic', 'the topic of a PUBLISH')
}
