import { createHmac, randomBytes } from 'node:crypto'
import type { Clock } from '../../../src/clock.ts'
import { type Derive, derive as scrypt, isSame, nobodysHash, readHash } from '../../users/password.ts'
import type { Users } from '../../users/users-file.ts'
import { Guesses } from './guesses.ts'
import { sourceOf } from './handshakes.ts'
import { WaitingClaims } from './waiting-claims.ts'

export interface PasswordCheckOptions {
  users: () => Users | undefined
  clock: Pick<Clock, 'monotonicMs' | 'after'>
  /** Default: scrypt. */
  derive?: Derive
}

/** What a client says who it is. */
export interface Claim {
  deviceId: string
  password: Buffer
  address: string
}

/**
 * `too-often`: it was not looked at, since too many from there were wrong. `busy`: nor was it, since too many wait, or it has waited for
 * `waitMsMax`. `left`: its client has gone.
 */
export type Verdict = { passwordHash: string } | 'wrong' | 'too-often' | 'busy' | 'left'

/** Longer than most clients wait for a CONNACK. */
export const waitMsMax = 60_000

/** Passwords that were right; the longest unused goes first. */
const rememberedMax = 20_000

interface Asker {
  settle: (verdict: Verdict) => void
  reject: (error: unknown) => void
}

/** One password of one device from one source, whoever waits for what becomes of it. */
interface Waiting {
  readonly key: string
  readonly source: string
  readonly claim: Claim
  readonly askers: Set<Asker>
}

/**
 * Whether a password is a device's. It costs a quarter of a second of a thread by design, so one is looked at in a time: libuv has four
 * threads, and what is made durable before it is acknowledged needs them too (G1, G7). Sources take turns, so that a crowd behind one
 * address makes nobody wait behind all of it. What was right is remembered, as a digest that is worth nothing outside of this
 * process and only as long as the file has the same hash: a fleet that comes back is let in at once. What waits for nobody any more is
 * forgotten; a check that was begun is finished and remembered even if its client has gone: it comes again. Who asks the same as one that waits
 * waits with it.
 */
export class PasswordCheck {
  readonly #options: PasswordCheckOptions
  readonly #derive: Derive
  readonly #guesses: Guesses
  readonly #nobody = nobodysHash()
  readonly #secret = randomBytes(32)
  /** By device: of its password, together with the hash in the file. */
  readonly #right = new Map<string, Buffer>()
  readonly #queue = new WaitingClaims<Waiting>()
  /** By key: those of the queue, and the one that is being looked at. */
  readonly #waiting = new Map<string, Waiting>()
  #isChecking = false

  constructor(options: PasswordCheckOptions) {
    this.#options = options
    this.#derive = options.derive ?? scrypt
    this.#guesses = new Guesses(() => options.clock.monotonicMs())
  }

  /** How many are being looked at or wait for it. */
  get size(): number {
    return this.#waiting.size
  }

  /** Rejects only when no digest could be computed. */
  check(claim: Claim, signal: AbortSignal): Promise<Verdict> {
    const source = sourceOf(claim.address)
    const known = this.#remembered(claim, source)
    if (known !== undefined) return Promise.resolve({ passwordHash: known })
    if (!this.#guesses.mayTry(source, claim.deviceId)) return Promise.resolve('too-often')
    if (signal.aborted) return Promise.resolve('left')
    const waiting = this.#enqueue(claim, source)
    return waiting ? this.#verdictOf(waiting, signal) : Promise.resolve('busy')
  }

  /** undefined: there is no room for it. */
  #enqueue(claim: Claim, source: string): Waiting | undefined {
    const key = `${source}\n${claim.deviceId}\n${this.#digestOf(claim, '').toString('base64')}`
    const same = this.#waiting.get(key)
    if (same) return same
    // What it came in may be a part of much more.
    const waiting = {
      key,
      source,
      claim: { ...claim, password: Buffer.from(claim.password) },
      askers: new Set<Asker>(),
    }
    const queued = this.#queue.push(waiting)
    if (!queued.isIn) return undefined
    if (queued.displaced) this.#settle(queued.displaced, ({ settle }) => settle('busy'))
    this.#waiting.set(key, waiting)
    if (!this.#isChecking) void this.#work()
    return waiting
  }

  /** What becomes of it, or that it was not known in time. */
  #verdictOf(waiting: Waiting, signal: AbortSignal): Promise<Verdict> {
    return new Promise((resolve, reject) => {
      const over = (): void => {
        deadline.cancel()
        signal.removeEventListener('abort', left)
        waiting.askers.delete(asker)
      }
      const asker: Asker = {
        settle(verdict) {
          over()
          resolve(verdict)
        },
        reject(error) {
          over()
          reject(error)
        },
      }
      const giveUp = (verdict: Verdict): void => {
        asker.settle(verdict)
        if (waiting.askers.size === 0) this.#forget(waiting)
      }
      const left = (): void => giveUp('left')
      const deadline = this.#options.clock.after(waitMsMax, () => giveUp('busy'))
      signal.addEventListener('abort', left)
      waiting.askers.add(asker)
    })
  }

  /** One that is being looked at already goes on. */
  #forget(waiting: Waiting): void {
    if (this.#queue.remove(waiting)) this.#waiting.delete(waiting.key)
  }

  #settle({ key, askers }: Waiting, tell: (asker: Asker) => void): void {
    this.#waiting.delete(key)
    for (const asker of askers) tell(asker)
  }

  async #work(): Promise<void> {
    this.#isChecking = true
    for (let next = this.#queue.shift(); next; next = this.#queue.shift())
      try {
        const verdict = await this.#checkOne(next)
        this.#settle(next, ({ settle }) => settle(verdict))
      } catch (error) {
        this.#settle(next, ({ reject }) => reject(error))
      }
    this.#isChecking = false
  }

  async #checkOne({ claim, source }: Waiting): Promise<Verdict> {
    const known = this.#remembered(claim, source)
    if (known !== undefined) return { passwordHash: known }
    const { deviceId, password } = claim
    // Those of its source that came before it may have been wrong since.
    if (!this.#guesses.mayTry(source, deviceId)) return 'too-often'
    const passwordHash = this.#options.users()?.get(deviceId)
    const hash = (passwordHash === undefined ? undefined : readHash(passwordHash)) ?? this.#nobody
    const digest = await this.#derive(password, hash)
    // As dear for a device that is not there: nobody learns which are.
    if (!isSame(digest, hash.digest) || passwordHash === undefined) {
      this.#guesses.failed(source, deviceId)
      return 'wrong'
    }
    this.#remember(claim, passwordHash)
    return { passwordHash }
  }

  #remembered(claim: Claim, source: string): string | undefined {
    const { deviceId } = claim
    const digest = this.#right.get(deviceId)
    const passwordHash = this.#options.users()?.get(deviceId)
    if (digest === undefined || passwordHash === undefined) return undefined
    if (!this.#guesses.mayLookUp(source, deviceId)) return undefined
    if (!isSame(digest, this.#digestOf(claim, passwordHash))) {
      this.#guesses.missed(source, deviceId)
      return undefined
    }
    // Used last.
    this.#right.delete(deviceId)
    this.#right.set(deviceId, digest)
    return passwordHash
  }

  #remember(claim: Claim, passwordHash: string): void {
    this.#right.delete(claim.deviceId)
    for (const [oldest] of this.#right) {
      if (this.#right.size < rememberedMax) break
      this.#right.delete(oldest)
    }
    this.#right.set(claim.deviceId, this.#digestOf(claim, passwordHash))
  }

  #digestOf({ password }: Claim, passwordHash: string): Buffer {
    return createHmac('sha256', this.#secret).update(passwordHash).update(password).digest()
  }
}
