import type { Clock } from '../../src/clock.ts'
import { Rate } from '../../src/pace/rate.ts'

/** What lets the deliveries of a group begin, in one instance. */
export interface Gate {
  /** Nothing may begin, because of the group's state. */
  readonly closed: boolean
  /** Something waits for its turn by the group's rate. */
  readonly paces: boolean
  /**
   * Waits until some of them may begin, and says how many; 0 once `signal` is aborted. Each is to be followed by one `leave`. Who has else
   * to do while the group is paused or has tripped is answered 0 as soon as it is: `orClosed`.
   */
  enter(wanted: number, signal: AbortSignal, orClosed?: boolean): Promise<number>
  /** So many that had entered are over; of these so many were tried, and what was not costs nothing of the rate. */
  leave(count: number, tried: number): void
  /** What came of an attempt whose outcome says something of the group; an outage does not, nor what an event itself is at fault for. */
  tried(device: string, failed: boolean): void
  /** An event waits behind one of its device whose newest attempt failed: where everything is tried it would have failed as well. */
  waited(device: string): void
}

/** For a group without any protection. */
export const openGate: Gate = {
  closed: false,
  paces: false,
  enter: (wanted, signal) => Promise.resolve(signal.aborted ? 0 : wanted),
  leave() {},
  tried() {},
  waited() {},
}

export interface GateOptions {
  /** Events a second, of all instances together; undefined: as many as come. */
  ratePerSecond: number | undefined
  /** How many instances share the rate now. */
  membersNow: () => number
  clock: Clock
  /** Told of every attempt while the gate is open. */
  onTried: (device: string, failed: boolean) => void
  /** Told of every event that waits behind one that failed, while the gate is open. */
  onWaited: (device: string) => void
  /** A step of a trial is complete. */
  onTrial: (step: TrialStep) => void
}

export interface TrialStep {
  devices: number
  failing: number
  tried: number
}

type Mode =
  | { kind: 'open' }
  | { kind: 'closed' }
  /** So many may be tried, and then it is closed until it is told what comes next. */
  | { kind: 'trial'; size: number; tried: number; devices: Map<string, boolean> }

export class GroupGate implements Gate {
  readonly #options: GateOptions
  #rate: { shares: number; rate: Rate } | undefined
  #mode: Mode = { kind: 'open' }
  #underWay = 0
  #pacing = 0
  #triedEver = 0
  readonly #waiting = new Set<() => void>()
  /** Who wants to enter, the first first. */
  readonly #line = new Set<symbol>()

  constructor(options: GateOptions) {
    this.#options = options
  }

  get closed(): boolean {
    return this.#mode.kind === 'closed'
  }

  get paces(): boolean {
    return this.#pacing > 0
  }

  /** How many were tried so far: something moves. */
  get triedEver(): number {
    return this.#triedEver
  }

  open(): void {
    this.#turn({ kind: 'open' })
  }

  close(): void {
    this.#turn({ kind: 'closed' })
  }

  /** Lets so many be tried. */
  try(size: number): void {
    this.#turn({ kind: 'trial', size, tried: 0, devices: new Map() })
  }

  /** In the order in which they come: what has much to do would else leave nothing of the rate to what has little. */
  async enter(wanted: number, signal: AbortSignal, orClosed = false): Promise<number> {
    const place = Symbol('place')
    this.#line.add(place)
    const goesAway = (): boolean => signal.aborted || (orClosed && this.closed)
    try {
      while (!goesAway()) {
        const isFirst = this.#line.values().next().value === place
        const allowed = isFirst ? Math.min(wanted, this.#room()) : 0
        const { atOnce, waitMs } = this.#paced(allowed)
        if (atOnce > 0) {
          this.#underWay += atOnce
          return atOnce
        }
        if (waitMs !== undefined) this.#pacing++
        await this.#wait(waitMs, signal)
        if (waitMs !== undefined) this.#pacing--
      }
      return 0
    } finally {
      this.#line.delete(place)
      this.#wake()
    }
  }

  leave(count: number, tried: number): void {
    this.#underWay -= count
    this.#rate?.rate.spend(tried - count)
    // Those of a trial that were not tried after all make room for others.
    if (this.#mode.kind === 'trial') this.#wake()
  }

  tried(device: string, failed: boolean): void {
    const mode = this.#mode
    this.#triedEver++
    if (mode.kind === 'open') this.#options.onTried(device, failed)
    if (mode.kind !== 'trial' || mode.tried >= mode.size) return
    mode.devices.set(device, failed)
    if (++mode.tried < mode.size) return
    const failing = [...mode.devices.values()].filter(Boolean).length
    this.#options.onTrial({ devices: mode.devices.size, failing, tried: mode.tried })
  }

  /** What failed before a trial says nothing of it. */
  waited(device: string): void {
    if (this.#mode.kind === 'open') this.#options.onWaited(device)
  }

  /** How many the state of the group lets begin. */
  #room(): number {
    const mode = this.#mode
    if (mode.kind === 'open') return Infinity
    return mode.kind === 'closed' ? 0 : Math.max(0, mode.size - mode.tried - this.#underWay)
  }

  #paced(allowed: number): { atOnce: number; waitMs: number | undefined } {
    if (allowed === 0) return { atOnce: 0, waitMs: undefined }
    const rate = this.#rateNow()
    if (rate === undefined) return { atOnce: allowed, waitMs: undefined }
    const atOnce = Math.min(allowed, Math.floor(rate.left()))
    if (atOnce < 1) return { atOnce: 0, waitMs: Math.max(1, rate.untilMs(1)) }
    rate.spend(atOnce)
    return { atOnce, waitMs: undefined }
  }

  /** Of this instance: what all have together, by those that are there. */
  #rateNow(): Rate | undefined {
    const { ratePerSecond, membersNow, clock } = this.#options
    if (ratePerSecond === undefined) return undefined
    const shares = Math.max(1, membersNow())
    if (this.#rate?.shares === shares) return this.#rate.rate
    const rate = new Rate(ratePerSecond / shares, () => clock.monotonicMs())
    // What was spent before stays spent.
    if (this.#rate) rate.spend(rate.left() - Math.min(rate.left(), this.#rate.rate.left()))
    this.#rate = { shares, rate }
    return rate
  }

  /** For so long, for ever if undefined, but no longer than until something changes. */
  async #wait(waitMs: number | undefined, signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = waitMs === undefined ? undefined : this.#options.clock.after(waitMs, () => wake())
      const wake = (): void => {
        timer?.cancel()
        signal.removeEventListener('abort', wake)
        this.#waiting.delete(wake)
        resolve()
      }
      this.#waiting.add(wake)
      signal.addEventListener('abort', wake, { once: true })
    })
  }

  #turn(mode: Mode): void {
    this.#mode = mode
    this.#wake()
  }

  #wake(): void {
    for (const wake of this.#waiting) wake()
  }
}
