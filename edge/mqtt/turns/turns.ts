import type { Clock } from '../../../src/clock.ts'
import { Rate } from '../../../src/pace/rate.ts'

/** What a device may do in a second, over all its connections; undefined: as much as there is time for. */
export interface Rates {
  packetsPerSecond?: number | undefined
  bytesPerSecond?: number | undefined
  connectsPerSecond?: number | undefined
}

/** What was read. */
export interface Spent {
  /** In units of the turn. */
  cost: number
  packets: number
  bytes: number
}

export interface TurnsOptions {
  /** What a device may cost in one turn, over all its connections. */
  costPerTurn: number
  /** Calls back once the event loop has looked after everybody else: their sockets, timers and writes. */
  yieldTo: (next: () => void) => void
  /** Of the cheapest packet. */
  costPerPacketMin: number
  ratesOf: (deviceId: string) => Rates
  clock: Pick<Clock, 'monotonicMs' | 'after'>
  /** A device is not read for some time since it is over a rate. */
  onHeld: (deviceId: string) => void
}

/** One connection's part in its device's turns. */
export interface Turn {
  /**
   * What the device may still cost in this turn. If that is nothing, or its other connections stand in line before this one, the
   * connection waits: it is pulled when it is its turn.
   */
  left(): number
  /** The connection has cost so much. What is beyond the turn is owed, and taken off the next ones. */
  spend(spent: Spent): void
  /** The device has connected more often than it may. */
  readonly isTooOften: boolean
  /** The connection is over, and is pulled no more. */
  leave(): void
}

/**
 * Whose turn it is to be read (G7): deficit round robin over devices (Shreedhar & Varghese, Efficient fair queuing using deficit
 * round robin, 1996). A device is read at once while it has something left of its turn, so that one with little to say
 * waits for nobody. Once its turn is used up it stands in line: each round gives everybody in it one turn, and between two turns the event loop
 * is yielded to. A round ends as soon as all in line have had theirs: who is alone goes on at once, and nothing is
 * held back that nobody else has a use for. Only who is over a rate, where one is set, is held back whoever else there is.
 */
export class Turns {
  readonly #options: TurnsOptions
  readonly #accounts = new Map<string, Account>()
  #round = 0
  /** Who has still to have a turn in this round, and who in the next. */
  #line: Account[] = []
  #nextLine: Account[] = []
  #isYielding = false

  constructor(options: TurnsOptions) {
    this.#options = options
  }

  /** A connection of a device begins; `pull` is called when it is its turn. */
  enter(deviceId: string, pull: () => void): Turn {
    const account = this.#accounts.get(deviceId) ?? this.#open(deviceId)
    account.connections += 1
    const isTooOften = account.connects?.take() === false
    let isOver = false
    return {
      isTooOften,
      left: () => (isOver ? 0 : this.#left(account, pull)),
      spend: (spent) => this.#spend(account, spent),
      leave: () => {
        if (isOver) return
        isOver = true
        account.waiting.delete(pull)
        account.connections -= 1
        // What it owes it would be rid of, if it were forgotten before that is paid.
        if (account.connections === 0) this.#settle(account)
      },
    }
  }

  /** Devices that stand in line. */
  get waiting(): number {
    return this.#line.length + this.#nextLine.length
  }

  /** Devices of which something is remembered: those that are connected, and those that are gone and owe something. */
  get devices(): number {
    return this.#accounts.size
  }

  #open(deviceId: string): Account {
    const { costPerTurn, ratesOf, clock } = this.#options
    const rates = ratesOf(deviceId)
    const rateOf = (perSecond: number | undefined): Rate | undefined =>
      perSecond === undefined ? undefined : new Rate(perSecond, () => clock.monotonicMs())
    const account = new Account(deviceId, costPerTurn, this.#round)
    account.packets = rateOf(rates.packetsPerSecond)
    account.bytes = rateOf(rates.bytesPerSecond)
    account.connects = rateOf(rates.connectsPerSecond)
    this.#accounts.set(deviceId, account)
    return account
  }

  #left(account: Account, pull: () => void): number {
    this.#refill(account)
    const isItsTurn = account.isServed || !account.isInLine
    if (account.left > 0 && isItsTurn && !this.#isOverRate(account)) return this.#leftOf(account)
    account.waiting.add(pull)
    this.#standInLine(account)
    return 0
  }

  #spend(account: Account, { cost, packets, bytes }: Spent): void {
    this.#refill(account)
    account.left -= cost
    account.packets?.spend(packets)
    account.bytes?.spend(bytes)
    // Where nobody stands in line a round is over when the event loop has come around: what one read brings is not cut in two
    // for what was read before.
    this.#yield()
  }

  /** A rate is overdrawn by no more than a packet: it would be long before that is made up for. */
  #leftOf({ left, packets, bytes }: Account): number {
    const ofPackets = (packets?.left() ?? Infinity) * this.#options.costPerPacketMin
    return Math.max(1, Math.min(left, ofPackets, bytes?.left() ?? Infinity))
  }

  /** Who is over a rate stands in no line until that is over. */
  #isOverRate(account: Account): boolean {
    if (account.isHeld) return true
    const waitMs = Math.max(account.packets?.waitMs() ?? 0, account.bytes?.waitMs() ?? 0)
    if (waitMs === 0) return false
    this.#options.onHeld(account.deviceId)
    account.isHeld = true
    this.#options.clock.after(Math.ceil(waitMs), () => {
      account.isHeld = false
      if (account.waiting.size > 0) this.#standInLine(account)
      else if (account.connections === 0) this.#settle(account)
    })
    return true
  }

  /** It is given a turn for each round since it was looked at last, of which it cannot save up any. */
  #refill(account: Account): void {
    const { costPerTurn } = this.#options
    const rounds = this.#round - account.round
    account.round = this.#round
    account.left = Math.min(costPerTurn, account.left + rounds * costPerTurn)
  }

  #standInLine(account: Account): void {
    if (account.isHeld) return
    if (!account.isInLine) {
      account.isInLine = true
      this.#nextLine.push(account)
    }
    this.#yield()
  }

  #yield(): void {
    if (this.#isYielding) return
    this.#isYielding = true
    this.#options.yieldTo(() => this.#goOn())
  }

  /** One turn, of the first in line that owes nothing. */
  #goOn(): void {
    this.#isYielding = false
    if (this.#line.length === 0) {
      this.#round += 1
      this.#line = this.#nextLine.toReversed()
      this.#nextLine = []
    }
    let account = this.#line.pop()
    while (account && !this.#serve(account)) account = this.#line.pop()
    if (this.waiting > 0) this.#yield()
  }

  /** Whether it had something left to be served with. */
  #serve(account: Account): boolean {
    account.isInLine = false
    this.#refill(account)
    const isServed = account.left > 0 && account.waiting.size > 0
    account.isServed = true
    const inOrder = Array.from(account.waiting)
    for (const pull of inOrder) {
      if (account.left <= 0) break
      // Of its connections the one goes first next time that has had nothing for longest.
      account.waiting.delete(pull)
      pull()
    }
    account.isServed = false
    if (account.waiting.size > 0) this.#standInLine(account)
    else if (account.connections === 0) this.#settle(account)
    return isServed
  }

  /** Forgets a device that is gone and owes nothing. */
  #settle(account: Account): void {
    this.#refill(account)
    const rates = [account.packets, account.bytes, account.connects]
    const forgetMs = Math.max(...rates.map((rate) => rate?.forgetMs() ?? 0))
    if (account.left < this.#options.costPerTurn) this.#standInLine(account)
    else if (forgetMs > 0) this.#remember(account, forgetMs)
    else this.#accounts.delete(account.deviceId)
  }

  #remember(account: Account, forMs: number): void {
    if (account.isRemembered) return
    account.isRemembered = true
    this.#options.clock.after(Math.ceil(forMs), () => {
      account.isRemembered = false
      if (account.connections === 0) this.#settle(account)
    })
  }
}

class Account {
  readonly deviceId: string
  left: number
  round: number
  connections = 0
  isInLine = false
  isServed = false
  /** It is over a rate. */
  isHeld = false
  /** It is gone, and its rates are not full again. */
  isRemembered = false
  packets: Rate | undefined
  bytes: Rate | undefined
  connects: Rate | undefined
  /** Its connections that stand in line, in their order. */
  readonly waiting = new Set<() => void>()

  constructor(deviceId: string, left: number, round: number) {
    this.deviceId = deviceId
    this.left = left
    this.round = round
  }
}
