import type { Clock, Random } from '../../../src/clock.ts'
import { isAbort, TidegateError } from '../../../src/errors.ts'
import type { Event } from '../../../src/contract/event.ts'
import type { Logger } from '../../../src/log.ts'
import { createThrottle } from '../../../src/throttle.ts'
import type { Delivery } from '../../amqp/delivery.ts'
import { retryLetter } from '../../letters/letters.ts'
import type { Room } from '../../parking/occupancy.ts'
import { parkedDelivery } from '../../parking/parked.ts'
import type { Kept, Parking, ParkedHead, ParkingIn } from '../../parking/parking.ts'
import type { Gate } from '../../protection/gate.ts'
import type { Transaction } from '../../database/storage.ts'
import { type Aside, trialOf } from '../aside.ts'
import { applyWithin, blame, type TogetherOptions } from '../batch.ts'
import type { Holding, Wait } from '../holding.ts'
import { type Checks, judge, type Parcel } from '../judge.ts'
import type { PipelineObserver } from '../observer.ts'
import { decide, isOutage, thrown } from '../retry.ts'

/**
 * Tries the events of parked devices, outside the lanes: one device after another, the first that is due first, each until nothing of it
 * waits or its first event fails once more. One transaction for each event, in the order in which they came (G6).
 */
export interface Runner {
  /** Begins nothing new. Resolves when nothing is under way. Idempotent. */
  close(): Promise<void>
}

export interface RunnerOptions extends TogetherOptions, Checks {
  instance: string
  parkingIn: ParkingIn
  /** Devices at a time. */
  concurrency: number
  random: Random
  log: Logger
  observer: PipelineObserver
  onFatal: (error: unknown) => void
}

export interface RunnerParts {
  aside: Aside
  holding: Holding
  room: Room
  gate: Gate
  stopping: AbortSignal
  cutOff: AbortSignal
}

/** How often somebody looks for what is due, while anything is parked. */
const lookEveryMs = 1_000
/** The claim of an instance that died, or was frozen between two transactions, is another's after so long. */
const leaseMs = 30_000
const tellEveryMs = 10_000

export function createRunner(options: RunnerOptions, parts: RunnerParts): Runner {
  const { clock, random, concurrency, onFatal } = options
  const { room, gate, stopping } = parts
  const throttle = createThrottle(clock, tellEveryMs)
  const tellEmpty = (device: string): void => {
    const alikeBefore = throttle('')
    if (alikeBefore === undefined) return
    const more = alikeBefore > 0 ? { alikeBefore } : {}
    options.log.info({ device, ...more }, 'nothing of the device waits any longer: it is parked no more')
  }

  async function work(): Promise<void> {
    while (!stopping.aborted) {
      const { retrying, held } = room.occupancy
      // A group that is paused or has tripped tries nothing.
      const run = retrying + held > 0 && !gate.closed ? await claimed(options, parts, tellEmpty) : undefined
      if (run) await run.toEnd()
      else await pause(clock, lookEveryMs * (0.8 + 0.4 * random()), stopping)
    }
  }

  const working = Array.from({ length: concurrency }, () => work().catch(onFatal))
  return {
    async close() {
      await Promise.all(working)
    },
  }
}

async function claimed(
  options: RunnerOptions,
  parts: RunnerParts,
  tellEmpty: (device: string) => void,
): Promise<DeviceRun | undefined> {
  const { storage, parkingIn, consumer, random } = options
  const token = uuid(random)
  const wait = parts.holding.createWait()
  try {
    const device = await storage.transaction(
      (tx) => parkingIn(tx).claim(consumer.group, token, leaseMs),
      parts.cutOff,
    )
    return device === undefined ? undefined : new DeviceRun(options, parts, { device, token, tellEmpty })
  } catch (error) {
    if (parts.cutOff.aborted) return undefined
    if (!isOutage(error)) throw error
    await wait.out(error, 1)
    return undefined
  } finally {
    wait.end()
  }
}

/** The first that waits, as it was read, and what was made of it. */
interface Tried {
  head: ParkedHead
  delivery: Delivery
  event: Event | undefined
  parcel: Parcel | undefined
}

/** What a claim has come to: `again`, there may be more; `over`, it is somebody else's, or nobody's. */
type Step = 'again' | 'over'

/** One device, as long as it is ours. */
class DeviceRun {
  readonly #options: RunnerOptions
  readonly #parts: RunnerParts
  readonly #device: string
  readonly #token: string
  readonly #tellEmpty: (device: string) => void

  constructor(
    options: RunnerOptions,
    parts: RunnerParts,
    claim: { device: string; token: string; tellEmpty: (device: string) => void },
  ) {
    this.#options = options
    this.#parts = parts
    this.#device = claim.device
    this.#token = claim.token
    this.#tellEmpty = claim.tellEmpty
  }

  async toEnd(): Promise<void> {
    const { holding, gate, stopping, cutOff } = this.#parts
    const wait = holding.createWait()
    try {
      for (let outages = 0; !stopping.aborted;) {
        try {
          if ((await this.#step(wait)) === 'over') return
          outages = 0
        } catch (error) {
          if (cutOff.aborted) return
          if (!isOutage(error)) throw error
          await wait.out(error, ++outages)
        }
      }
      await this.#giveUp()
    } finally {
      wait.end()
    }
  }

  /** Tries the first that waits, in a transaction of its own (G4). @throws TidegateError of an outage */
  async #step(wait: Wait): Promise<Step> {
    const { consumer, clock, observer, storage } = this.#options
    let tried: Tried | undefined
    try {
      const found = await this.#inTransaction(async (parking, tx) => {
        const kept = await this.#keep(parking)
        if (!kept) return 'over'
        const head = await parking.head(consumer.group, this.#device)
        if (head === undefined) return 'empty'
        tried = this.#read(head)
        const isRepeat = await this.#apply(kept, tried, tx)
        await parking.remove(consumer.group, this.#device, head.n)
        return isRepeat ? 'repeat' : 'processed'
      })
      wait.end()
      if (found === 'empty') return await this.#unpark()
      if (found === 'processed' && tried?.parcel)
        observer.applied(consumer.group, tried.parcel.event, tried.delivery, clock.now())
      return found === 'over' ? 'over' : 'again'
    } catch (error) {
      const cause = await blame(thrown(error), storage)
      if (tried === undefined || this.#parts.cutOff.aborted || isOutage(cause)) throw cause
      return await this.#failed(tried, cause)
    }
  }

  #read(head: ParkedHead): Tried {
    const delivery = parkedDelivery(head)
    const judgement = judge(delivery, this.#options.consumer, this.#options, this.#options.clock.now())
    if (judgement.kind === 'ignore' || judgement.kind === 'shed') return { head, delivery, event: undefined, parcel: undefined }
    if (judgement.kind === 'handle') {
      const { parcel } = judgement
      return { head, delivery, event: parcel.event, parcel }
    }
    return { head, delivery, event: judgement.event, parcel: undefined }
  }

  /** Answers whether it was processed before, or is nothing that this group wants. */
  async #apply(kept: Kept, { head, delivery, parcel }: Tried, tx: Transaction): Promise<boolean> {
    if (kept.skip === head.n) throw skipped(kept)
    if (parcel === undefined) {
      const judgement = judge(delivery, this.#options.consumer, this.#options, this.#options.clock.now())
      if (judgement.kind === 'fault') throw judgement.error
      return true
    }
    const { repeats } = await applyWithin(tx, [parcel], this.#options, this.#parts.cutOff, { at: undefined })
    return repeats.has(parcel)
  }

  /** The first of them waits once more, or is out of the way: as one place says of every failure. */
  async #failed({ head, delivery, event }: Tried, error: unknown): Promise<Step> {
    const { consumer, clock, instance, random } = this.#options
    const { group } = consumer
    // What is parked stays so until it is done with, also where the group parks nothing any more.
    const attempt = { attempt: delivery.attempt, hasDevice: true }
    const decision = decide(error, attempt, { ...consumer, parks: true })
    if (decision.kind === 'park' || decision.kind === 'hold') {
      const trial = trialOf(decision, delivery, error, random)
      const { headers } = retryLetter({ delivery, error, group, instance, nowMs: clock.now() })
      const isOurs = await this.#inTransaction(async (parking) => {
        if (!(await this.#keep(parking))) return false
        await parking.setBack(group, this.#device, head.n, trial, headers)
        return true
      })
      if (isOurs) this.#parts.aside.tell(delivery, error, event, decision)
      return 'over'
    }
    if (!(await this.#isOurs()) || !(await this.#parts.aside.bury(delivery, error, event))) return 'over'
    await this.#inTransaction(async (parking) => {
      if (await this.#keep(parking)) await parking.remove(group, this.#device, head.n)
    })
    return 'again'
  }

  /** Nothing waits: whoever comes later need not. Between the lock and the look nobody can add anything. */
  async #unpark(): Promise<Step> {
    const { group } = this.#options.consumer
    const step = await this.#inTransaction(async (parking) => {
      if (!(await parking.lock(group, this.#device, this.#token))) return 'over'
      if ((await parking.head(group, this.#device)) !== undefined) return 'again'
      await parking.unpark(group, this.#device)
      return 'gone'
    })
    if (step !== 'gone') return step
    this.#parts.room.added(-1, 0)
    this.#tellEmpty(this.#device)
    return 'over'
  }

  async #isOurs(): Promise<boolean> {
    return (await this.#inTransaction((parking) => this.#keep(parking))) !== undefined
  }

  #keep(parking: Parking): Promise<Kept | undefined> {
    return parking.keep(this.#options.consumer.group, this.#device, this.#token, leaseMs)
  }

  /** So that another instance need not wait for the end of the lease. */
  async #giveUp(): Promise<void> {
    const { group } = this.#options.consumer
    await this.#inTransaction((parking) => parking.giveUp(group, this.#device, this.#token)).catch(() => {})
  }

  #inTransaction<T>(work: (parking: Parking, tx: Transaction) => Promise<T>): Promise<T> {
    const { storage, parkingIn } = this.#options
    return storage.transaction((tx) => work(parkingIn(tx), tx), this.#parts.cutOff)
  }
}

/** What failed, as it was told of it then. */
function skipped({ code, message }: Kept): TidegateError {
  return new TidegateError(code || 'SKIPPED', {
    message: message || 'an operator has skipped it',
    retryable: false,
    hint: 'an operator has skipped it: correct what it failed at, then replay the dead letter',
  })
}

async function pause(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  try {
    await clock.sleep(delayMs, signal)
  } catch (error) {
    if (!isAbort(error)) throw error
  }
}

function uuid(random: Random): string {
  const hex = Array.from({ length: 32 }, () => Math.floor(random() * 16).toString(16)).join('')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
