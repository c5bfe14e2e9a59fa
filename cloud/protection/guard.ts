import type { Clock } from '../../src/clock.ts'
import { codeOf, messageOf } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import { type Gate, GroupGate, type TrialStep } from './gate.ts'
import type { GroupState, GroupStates } from './group-states.ts'
import { KillSwitch, type KillSwitchOptions } from './kill-switch.ts'

/** What a group that does not simply work is told to do about its queues. */
export interface Pausable {
  /** Gives everything back to the broker, and asks for nothing. Idempotent. */
  pause(): void
  resume(): void
}

export interface GuardOptions {
  group: string
  instance: string
  states: GroupStates
  /** Undefined: it never trips by itself. */
  killSwitch: (KillSwitchOptions & { pauseMs: number }) | undefined
  ratePerSecond: number | undefined
  membersNow: () => number
  clock: Clock
  /** Of the group. */
  log: Logger
}

/** A group that has tripped stays so for twice as long each time in a row, and no longer than that. */
const pauseMsMax = 900_000
/** An instance that tries says so more often than that, or another may try. */
const leaseMs = 60_000
/** For so long whoever got nothing to try lets others try. */
const yieldMs = 20_000
/** How many events each step of a trial has: one that goes well is not enough, and one sick device is to end no trial. */
const trialSteps = [3, 10, 100] as const

/**
 * Keeps a group from working while it is paused by a person, or while its handler fails for most devices: everything stays in the
 * queues, and nothing becomes a dead letter of it (G5). What all instances know is in the database (`GroupStates`).
 */
export class Guard {
  readonly gate: Gate
  readonly #gate: GroupGate
  readonly #options: GuardOptions
  readonly #switch: KillSwitch | undefined
  #queues: Pausable = { pause() {}, resume() {} }
  #state: GroupState | undefined
  /** Of our trial: undefined while there is none. */
  #step: number | undefined
  #telling: Promise<void> = Promise.resolve()
  /** Of our trial: how many had been tried when something last was, and when that was, ms of a steady clock. */
  #moved = { tried: 0, atMs: 0 }
  /** Another may begin a trial first. */
  #yieldsUntilMs = -Infinity
  /** When the newest word of ours came to the database, ms of a steady clock. */
  #toldAtMs = -Infinity

  constructor(options: GuardOptions) {
    const { killSwitch, clock } = options
    this.#options = options
    this.#switch = killSwitch && new KillSwitch(killSwitch, () => clock.monotonicMs())
    this.gate = this.#gate = new GroupGate({
      ...options,
      onTried: (device, failed) => this.#tried(device, failed),
      onWaited: (device) => this.#waited(device),
      onTrial: (step) => this.#judge(step),
    })
  }

  get group(): string {
    return this.#options.group
  }

  /** Why the group does not simply work, as far as it is known here. */
  get state(): GroupState | undefined {
    return this.#state
  }

  /** From now on these are paused with it. */
  over(queues: Pausable): void {
    this.#queues = queues
    if (this.#gate.closed) queues.pause()
  }

  /** Does as the database says, which was asked at `askedAtMs` of the steady clock. @throws TidegateError `DATABASE_*` */
  async follow(state: GroupState | undefined, nowMs: number, askedAtMs: number): Promise<void> {
    await this.#telling
    // What was read may be from before our own word.
    if (this.#toldAtMs >= askedAtMs) return
    const { group, instance, states } = this.#options
    const before = this.#state
    if (state?.state === 'trial' && state.actor === instance && this.#step !== undefined) {
      return this.#renew(state)
    }
    this.#step = undefined
    this.#state = state
    this.#tell(before, state)
    if (state === undefined) {
      // What was seen before says nothing of it any more.
      if (before !== undefined) this.#switch?.forget()
      return this.#open()
    }
    this.#close()
    const isDue = state.state !== 'paused' && state.untilMs !== undefined && state.untilMs <= nowMs
    const yields = this.#options.clock.monotonicMs() < this.#yieldsUntilMs
    if (isDue && !yields && (await states.beginTrial(group, instance, leaseMs))) this.#begin(state)
  }

  /** Resolves when what is being written is written. */
  async settled(): Promise<void> {
    await this.#telling
  }

  /** As long as something is tried: who gets nothing, or waits for what the handler calls, makes way for another instance. */
  async #renew(state: GroupState): Promise<void> {
    const { group, instance, states, clock } = this.#options
    this.#state = state
    const nowMs = clock.monotonicMs()
    const { triedEver } = this.#gate
    if (triedEver !== this.#moved.tried) this.#moved = { tried: triedEver, atMs: nowMs }
    const toldBefore = this.#toldAtMs
    if (nowMs - this.#moved.atMs >= leaseMs) {
      this.#close()
      this.#yieldsUntilMs = nowMs + yieldMs
      await states.yieldTrial(group, instance)
    } else if (!(await states.renewTrial(group, instance, leaseMs)) && this.#toldAtMs === toldBefore) {
      // Another has it; and where we have said meanwhile how it ended, nobody has.
      this.#close()
    }
  }

  #tried(device: string, failed: boolean): void {
    this.#switch?.tried(device, failed)
    if (failed) this.#askSwitch()
  }

  #waited(device: string): void {
    if (this.#switch?.waited(device)) this.#askSwitch()
  }

  #askSwitch(): void {
    const verdict = this.#switch?.verdict()
    if (verdict !== undefined) this.#trip(verdict)
  }

  #trip(verdict: string): void {
    const { group, instance, states, killSwitch, log } = this.#options
    this.#close()
    this.#state = this.#tripped(verdict, 1)
    this.#switch?.forget()
    log.error(
      { code: 'GROUP_TRIPPED', hint: trippedHint },
      `the group stops for a while, and everything stays in its queues: ${verdict}`,
    )
    this.#write(() => states.trip(group, instance, verdict, killSwitch?.pauseMs ?? 0))
  }

  #begin(state: GroupState): void {
    this.#options.log.info({ trips: state.trips }, 'the group tries a few events')
    this.#state = { ...state, state: 'trial', actor: this.#options.instance }
    this.#step = 0
    this.#moved = { tried: this.#gate.triedEver, atMs: this.#options.clock.monotonicMs() }
    this.#queues.resume()
    this.#gate.try(trialSteps[0])
  }

  /** By devices, as the switch itself: a step that had none but one sick device says nothing of the others. */
  #judge({ devices, failing, tried }: TrialStep): void {
    const { group, instance, states, killSwitch } = this.#options
    const share = killSwitch?.share ?? 1
    if (failing >= 2 && failing >= share * devices) {
      const trips = this.#state?.trips ?? 1
      const forMs = this.#pauseMs(trips)
      const verdict = `${failing} of ${devices} devices still fail, of ${tried} events`
      this.#close()
      this.#state = this.#tripped(verdict, trips + 1)
      this.#options.log.warn({ code: 'GROUP_TRIPPED', forMs }, verdict)
      this.#write(() => states.failTrial(group, instance, verdict, forMs))
      return
    }
    const next = (this.#step ?? 0) + 1
    const size = trialSteps[next]
    if (size !== undefined) {
      this.#step = next
      this.#gate.try(size)
      return
    }
    this.#step = undefined
    this.#state = undefined
    this.#switch?.forget()
    this.#options.log.info('the group works again')
    this.#open()
    this.#write(() => states.endTrial(group, instance))
  }

  /** As it is known here, until the database says it. */
  #tripped(reason: string, trips: number): GroupState {
    const { group, instance, clock } = this.#options
    return {
      group,
      state: 'tripped',
      sinceMs: clock.now(),
      untilMs: undefined,
      trips,
      actor: instance,
      reason,
    }
  }

  #pauseMs(trips: number): number {
    return Math.min(pauseMsMax, (this.#options.killSwitch?.pauseMs ?? 0) * 2 ** Math.min(trips, 30))
  }

  #open(): void {
    this.#gate.open()
    this.#queues.resume()
  }

  #close(): void {
    this.#step = undefined
    this.#gate.close()
    this.#queues.pause()
  }

  /** One after the other. What cannot be written is decided anew by whoever reads the database next. */
  #write(work: () => Promise<boolean>): void {
    this.#telling = this.#telling
      .then(work)
      .then(() => void (this.#toldAtMs = this.#options.clock.monotonicMs()))
      .catch((error: unknown) => this.#options.log.warn({ code: codeOf(error) }, messageOf(error)))
  }

  #tell(before: GroupState | undefined, after: GroupState | undefined): void {
    if (before?.state === after?.state) return
    const { log } = this.#options
    if (after === undefined) log.info('the group works')
    else log.warn({ state: after.state, by: after.actor, reason: after.reason }, 'the group does not work')
  }
}

const trippedHint =
  'see why its handler fails (its dead letters, the log, what it calls); it tries again by itself, and tidegate groups resume ends the wait'
