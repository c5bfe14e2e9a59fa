export interface TurnsOptions {
  /** What a device may cost in one turn, over all its connections. */
  costPerTurn: number
  /** Calls back once the event loop has looked after everybody else: their sockets, timers and writes. */
  yieldTo: (next: () => void) => void
}

/** One connection's part in its device's turns. */
export interface Turn {
  /**
   * What the device may still cost in this turn. If that is nothing, or its other connections stand in line before this one, the
   * connection waits: it is pulled when it is its turn.
   */
  left(): number
  /** The connection has cost so much. What is beyond the turn is owed, and taken off the next ones. */
  spend(cost: number): void
  /** The connection is over, and is pulled no more. */
  leave(): void
}

/**
 * Whose turn it is to be read (G7): deficit round robin over devices (Shreedhar & Varghese, Efficient fair queuing using deficit
 * round robin, 1996). A device is read at once while it has something left of its turn, so that one with little to say
 * waits for nobody. Once its turn is used up it stands in line: each round gives everybody in it one turn, and between two turns the event loop
 * is yielded to. A round ends as soon as all in line have had theirs: who is alone goes on at once, and nothing is
 * held back that nobody else has a use for.
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
    let isOver = false
    return {
      left: () => (isOver ? 0 : this.#left(account, pull)),
      spend: (cost) => this.#spend(account, cost),
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

  #open(deviceId: string): Account {
    const account = new Account(deviceId, this.#options.costPerTurn, this.#round)
    this.#accounts.set(deviceId, account)
    return account
  }

  #left(account: Account, pull: () => void): number {
    this.#refill(account)
    const isItsTurn = account.isServed || !account.isInLine
    if (account.left > 0 && isItsTurn) return account.left
    account.waiting.add(pull)
    this.#standInLine(account)
    return 0
  }

  #spend(account: Account, cost: number): void {
    this.#refill(account)
    account.left -= cost
  }

  /** It is given a turn for each round since it was looked at last, of which it cannot save up any. */
  #refill(account: Account): void {
    const { costPerTurn } = this.#options
    const rounds = this.#round - account.round
    account.round = this.#round
    account.left = Math.min(costPerTurn, account.left + rounds * costPerTurn)
  }

  #standInLine(account: Account): void {
    if (!account.isInLine) {
      account.isInLine = true
      this.#nextLine.push(account)
    }
    if (this.#isYielding) return
    this.#isYielding = true
    this.#options.yieldTo(() => this.#goOn())
  }

  /** One turn, of the first in line that owes nothing. */
  #goOn(): void {
    this.#isYielding = false
    if (this.#line.length === 0) {
      this.#round += 1
      this.#line = this.#nextLine.reverse()
      this.#nextLine = []
    }
    let account = this.#line.pop()
    while (account && !this.#serve(account)) account = this.#line.pop()
    if (this.#line.length + this.#nextLine.length === 0 || this.#isYielding) return
    this.#isYielding = true
    this.#options.yieldTo(() => this.#goOn())
  }

  /** Whether it had something left to be served with. */
  #serve(account: Account): boolean {
    account.isInLine = false
    this.#refill(account)
    const isServed = account.left > 0 && account.waiting.size > 0
    account.isServed = true
    for (const pull of [...account.waiting]) {
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

  #settle(account: Account): void {
    this.#refill(account)
    if (account.left < this.#options.costPerTurn) this.#standInLine(account)
    else this.#accounts.delete(account.deviceId)
  }
}

class Account {
  readonly deviceId: string
  left: number
  round: number
  connections = 0
  isInLine = false
  isServed = false
  /** Its connections that stand in line, in their order. */
  readonly waiting = new Set<() => void>()

  constructor(deviceId: string, left: number, round: number) {
    this.deviceId = deviceId
    this.left = left
    this.round = round
  }
}
