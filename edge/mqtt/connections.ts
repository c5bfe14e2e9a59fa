import { setMaxListeners } from 'node:events'
import type { Duplex } from 'node:stream'
import type { Clock } from '../../src/clock.ts'
import type { AuthMethod } from '../../src/contract/event.ts'
import type { Held, Publish } from '../admission/ingest.ts'
import { RefusedConnect } from './connect-rules.ts'
import { costOfPacketMin } from './door/costs.ts'
import { guardReads } from './door/door.ts'
import type { Entered } from './entrance/entrance.ts'
import type { FrameLimits } from './door/frames.ts'
import type { SubscriptionRequest } from './door/requests.ts'
import type { TakenPublish, Taking } from './door/taken.ts'
import { type Rates, type Spent, type Turn, Turns } from './turns/turns.ts'

/** One device's connection, and how far it may be read ahead of what was acknowledged. */
export interface Connection {
  readonly deviceId: string
  /** How its device was known when it came. */
  readonly authMethod: AuthMethod
  /** Aborted when the connection is over: what still waits for room is withdrawn, the device keeps it. */
  readonly signal: AbortSignal
  /** Between CONNECT and CONNACK: nothing more is read. */
  connecting: boolean
  /** Why the CONNECT is to be refused. */
  refusal: RefusedConnect | undefined
  /** It is another broker's, which says so in its CONNECT. */
  isBridge: boolean
  /** Counts publishes as unanswered, and at what they take in memory as they came. */
  hold(publishes: readonly Pick<Publish, 'topic' | 'payload'>[]): Held
  /** Nothing more is read until it was resumed as often as it was paused. */
  pause(): void
  resume(): void
  /** Reads on, if there is something to read and it may be read. */
  pull(): void
  /**
   * What a publish of it costs at its subscribers, in the units of `door/costs.ts`. It was charged with what was expected of it when it was read;
   * of the next as much is expected, or a little less than of the dearest lately.
   */
  noteFanOut(cost: number): void
  /** Its device connects more often than it may. */
  readonly isTooOften: boolean
}

export interface ConnectionLimits extends FrameLimits {
  inFlightMax: number
  inFlightBytesMax: number
  inFlightBytesPerDeviceMax: number
  ratesOf: (deviceId: string) => Rates
}

export interface ConnectionsParts {
  clock: Pick<Clock, 'monotonicMs' | 'after'>
  /** A device is not read for some time, since it is over a rate. */
  onHeld: (deviceId: string) => void
}

/**
 * What a device may cost in one turn, in the units of `door/costs.ts`: some 3 ms of the gateway's time, in which nobody else is read.
 * A device that is alone comes around the event loop once for each, which takes 20 µs.
 */
const costPerTurn = 32 * 1024

/** How much of what was expected is still expected after a publish that cost less: a dear one in ten is expected to come again. */
const expectationKept = 0.9

/** Answers a SUBSCRIBE or an UNSUBSCRIBE; when it rejects, the connection ends with its error. */
export type Answerer = (request: SubscriptionRequest) => Promise<void>

/** Takes publishes of a connection past the broker. */
export interface Taker<Topic> extends Taking<Topic> {
  take(publishes: readonly TakenPublish<Topic>[]): void
}

export interface Connections {
  /**
   * Puts the door and the limits in front of a socket, then lets `attach` read from it, which gives who answers requests; `takerOf`
   * gives who takes what the broker does not get.
   */
  open<Topic>(
    socket: Duplex,
    entered: Entered,
    parts: { attach: () => Answerer; takerOf: (connection: Connection) => Taker<Topic> },
  ): void
  of(client: { conn: Duplex }): Connection | undefined
  /** Reads nothing more from anyone. */
  hold(): void
  /** Withdraws whatever waits for room. */
  withdraw(): void
}

/**
 * Backpressure (G7). aedes reads on whenever a chunk arrives, whether or not the last was answered, so the socket
 * has to know how much is unanswered: at a bound `read()` gives nothing, and TCP holds the sender back. Below
 * the bound everything is read at once, so that a device whose acknowledgements are withheld still has its pings answered.
 */
export function createConnections(limits: ConnectionLimits, parts: ConnectionsParts): Connections {
  return new GuardedConnections(limits, parts)
}

/** What a publish takes in memory as it came, with what stands around it; two bytes for each character of its topic. */
function costOf({ topic, payload }: Pick<Publish, 'topic' | 'payload'>): number {
  return 2 * topic.length + payload.length + 2048
}

/** What all connections have unanswered together, and who is not read for that or for its own. */
class Unanswered {
  readonly limits: ConnectionLimits
  /** What publishes of all connections cost. */
  bytes = 0
  /** Of each device that has any. */
  readonly #bytesOf = new Map<string, number>()
  /** Nobody is read any more. */
  holding = false
  readonly #held = new Set<() => void>()

  constructor(limits: ConnectionLimits) {
    this.limits = limits
  }

  count(deviceId: string, bytes: number): void {
    this.bytes += bytes
    const ofDevice = (this.#bytesOf.get(deviceId) ?? 0) + bytes
    if (ofDevice > 0) this.#bytesOf.set(deviceId, ofDevice)
    else this.#bytesOf.delete(deviceId)
  }

  /** Whether a connection with so many unanswered publishes may be read; if not, the connection is pulled when there are fewer. */
  mayRead(deviceId: string, publishes: number, pull: () => void): boolean {
    const { inFlightMax, inFlightBytesMax, inFlightBytesPerDeviceMax } = this.limits
    const ofDevice = this.#bytesOf.get(deviceId) ?? 0
    if (publishes < inFlightMax && this.bytes < inFlightBytesMax && ofDevice < inFlightBytesPerDeviceMax)
      return true
    this.#held.add(pull)
    return false
  }

  /** A connection is over, and is pulled no more. */
  forget(pull: () => void): void {
    this.#held.delete(pull)
  }

  wake(): void {
    if (this.#held.size === 0) return
    const waiting = [...this.#held]
    this.#held.clear()
    for (const pull of waiting) pull()
  }
}

class GuardedConnection implements Connection {
  readonly deviceId: string
  readonly authMethod: AuthMethod
  readonly signal: AbortSignal
  connecting = false
  refusal: RefusedConnect | undefined
  isBridge = false
  readonly #socket: Duplex
  readonly #unanswered: Unanswered
  readonly #turn: Turn
  /** What the next publish is expected to cost at its subscribers. */
  #expectedCost = 0
  /** Publishes that were charged with what was expected of them, and with how much together. */
  #expected = { publishes: 0, cost: 0 }
  #publishes = 0
  #pulling = false
  #pauses = 0

  constructor(
    socket: Duplex,
    { deviceId, authMethod }: Entered,
    { signal, unanswered, turns }: { signal: AbortSignal; unanswered: Unanswered; turns: Turns },
  ) {
    this.#socket = socket
    this.deviceId = deviceId
    this.authMethod = authMethod
    this.signal = signal
    this.#unanswered = unanswered
    this.#turn = turns.enter(deviceId, this.pull)
  }

  hold(publishes: readonly Pick<Publish, 'topic' | 'payload'>[]): Held {
    let bytes = 0
    const grow = (more: number): void => {
      bytes += more
      this.#unanswered.count(this.deviceId, more)
    }
    let left = publishes.length
    const answered = (count: number): void => {
      left -= count
      this.#publishes -= count
      this.#unanswered.wake()
    }
    this.#publishes += left
    grow(publishes.reduce((sum, publish) => sum + costOf(publish), 0))
    return {
      grow,
      answered,
      release: () => {
        this.#unanswered.count(this.deviceId, -bytes)
        answered(left)
      },
    }
  }

  pause(): void {
    this.#pauses += 1
  }

  resume(): void {
    this.#pauses -= 1
    if (this.#pauses === 0) this.pull()
  }

  /** A publish is read, and charged with what this gives. */
  readonly expectFanOut = (): number => {
    this.#expected.publishes += 1
    this.#expected.cost += this.#expectedCost
    return this.#expectedCost
  }

  noteFanOut(cost: number): void {
    const { publishes, cost: all } = this.#expected
    // Never more is given back than was charged, whatever the order and the mix: what has cost is paid (G7).
    const charged = publishes === 0 ? 0 : all / publishes
    if (publishes > 0) this.#expected = { publishes: publishes - 1, cost: all - charged }
    this.read({ cost: cost - charged, packets: 0, bytes: 0 })
    this.#expectedCost = Math.max(cost, expectationKept * this.#expectedCost)
  }

  read(spent: Spent): void {
    this.#turn.spend(spent)
  }

  get isTooOften(): boolean {
    return this.#turn.isTooOften
  }

  leave(): void {
    this.#unanswered.forget(this.pull)
    this.#turn.leave()
  }

  readonly mayCost = (): number => {
    if (this.#unanswered.holding || this.connecting || this.#pauses > 0) return 0
    if (!this.#unanswered.mayRead(this.deviceId, this.#publishes, this.pull)) return 0
    // Who has nothing to be read stands in no line.
    return this.#socket.readableLength === 0 ? costPerTurn : this.#turn.left()
  }

  /**
   * aedes answers each 'readable' by counting one unanswered packet less and reads when it counts none: asked once per
   * publish that is unanswered, it reads what is there.
   */
  readonly pull = (): void => {
    if (this.#pulling) return
    this.#pulling = true
    for (let asked = 0; asked <= this.#publishes + 1; asked += 1) {
      if (this.#socket.destroyed || this.#socket.readableLength === 0 || this.mayCost() <= 0) break
      this.#socket.emit('readable')
    }
    this.#pulling = false
  }
}

class GuardedConnections implements Connections {
  readonly #unanswered: Unanswered
  readonly #turns: Turns
  readonly #bySocket = new WeakMap<Duplex, Connection>()
  readonly #open = new Set<AbortController>()

  constructor(limits: ConnectionLimits, parts: ConnectionsParts) {
    this.#unanswered = new Unanswered(limits)
    const { ratesOf } = limits
    const turn = { costPerTurn, costPerPacketMin: costOfPacketMin, yieldTo: setImmediate }
    this.#turns = new Turns({ ...turn, ratesOf, ...parts })
  }

  open<Topic>(
    socket: Duplex,
    entered: Entered,
    { attach, takerOf }: { attach: () => Answerer; takerOf: (connection: Connection) => Taker<Topic> },
  ): void {
    const controller = new AbortController()
    // One listener per publish that waits; Node would warn at eleven.
    setMaxListeners(0, controller.signal)
    const parts = { signal: controller.signal, unanswered: this.#unanswered, turns: this.#turns }
    const connection = new GuardedConnection(socket, entered, parts)
    const taker = takerOf(connection)
    let answer: Answerer | undefined
    guardReads(socket, {
      ...this.#unanswered.limits,
      taking: taker,
      onTaken: (publishes) => taker.take(publishes),
      mayCost: connection.mayCost,
      costOfFanOut: connection.expectFanOut,
      onRead: (spent) => connection.read(spent),
      refusalOf: wrongLevel,
      onReady: connection.pull,
      // What reads has been attached.
      onRequest: (request) => (answer as Answerer)(request),
    })
    this.#bySocket.set(socket, connection)
    this.#open.add(controller)
    socket.once('close', () => {
      this.#open.delete(controller)
      connection.leave()
      controller.abort()
    })
    answer = attach()
    socket.on('readable', connection.pull)
  }

  of(client: { conn: Duplex }): Connection | undefined {
    return this.#bySocket.get(client.conn)
  }

  hold(): void {
    this.#unanswered.holding = true
  }

  withdraw(): void {
    for (const controller of this.#open) controller.abort()
  }
}

function wrongLevel(level: number): RefusedConnect {
  const version = level === 5 ? 'MQTT 5' : `a protocol level of ${level}`
  return new RefusedConnect('protocol-version', 1, `${version}, and only MQTT 3.1.1 and 3.1 are spoken here`)
}
