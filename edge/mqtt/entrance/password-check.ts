import { createHmac, randomBytes } from 'node:crypto'
import type { Clock } from '../../../src/clock.ts'
import { type Derive, derive as scrypt, isSame, nobodysHash, readHash } from '../../users/password.ts'
import type { Users } from '../../users/users-file.ts'
import { Guesses } from './guesses.ts'
import { sourceOf } from './handshakes.ts'

export interface PasswordCheckOptions {
  users: () => Users | undefined
  clock: Pick<Clock, 'monotonicMs'>
  /** Default: scrypt. */
  derive?: Derive
}

/** What a client says who it is. */
export interface Claim {
  deviceId: string
  password: Buffer
  address: string
}

/** `too-often`: it was not looked at, since too many from there were wrong. `left`: its client has gone. */
export type Verdict = { passwordHash: string } | 'wrong' | 'too-often' | 'left'

/** Passwords that were right; the longest unused goes first. */
const rememberedMax = 20_000

interface Waiting {
  claim: Claim
  source: string
  signal: AbortSignal
  resolve: (verdict: Verdict) => void
  reject: (error: unknown) => void
}

/**
 * Whether a password is a device's. It costs a quarter of a second of a thread by design, so one is looked at in a time: libuv has four
 * threads, and what is made durable before it is acknowledged needs them too (G1, G7). Sources take turns, so that a crowd behind one
 * address makes nobody wait behind all of it. What was right is remembered, as a digest that is worth nothing outside of this
 * process and only as long as the file has the same hash: a fleet that comes back is let in at once. A check that was begun is
 * finished and remembered even if its client has gone: it comes again.
 */
export class PasswordCheck {
  readonly #options: PasswordCheckOptions
  readonly #derive: Derive
  readonly #guesses: Guesses
  readonly #nobody = nobodysHash()
  readonly #secret = randomBytes(32)
  /** By device: of its password, together with the hash in the file. */
  readonly #right = new Map<string, Buffer>()
  readonly #waiting = new Map<string, Waiting[]>()
  #isChecking = false

  constructor(options: PasswordCheckOptions) {
    this.#options = options
    this.#derive = options.derive ?? scrypt
    this.#guesses = new Guesses(() => options.clock.monotonicMs())
  }

  /** Rejects only when no digest could be computed. */
  check(claim: Claim, signal: AbortSignal): Promise<Verdict> {
    const known = this.#remembered(claim)
    if (known !== undefined) return Promise.resolve({ passwordHash: known })
    const source = sourceOf(claim.address)
    if (!this.#guesses.mayTry(source, claim.deviceId)) return Promise.resolve('too-often')
    return new Promise((resolve, reject) => {
      const waiting = this.#waiting.get(source) ?? []
      this.#waiting.set(source, waiting)
      waiting.push({ claim, source, signal, resolve, reject })
      if (!this.#isChecking) void this.#work()
    })
  }

  /** The next of each source in turn. */
  #next(): Waiting | undefined {
    for (const [source, waiting] of this.#waiting) {
      const next = waiting.shift()
      this.#waiting.delete(source)
      if (waiting.length > 0) this.#waiting.set(source, waiting)
      if (next) return next
    }
    return undefined
  }

  async #work(): Promise<void> {
    this.#isChecking = true
    for (let next = this.#next(); next; next = this.#next())
      try {
        next.resolve(await this.#checkOne(next))
      } catch (error) {
        next.reject(error)
      }
    this.#isChecking = false
  }

  async #checkOne({ claim, source, signal }: Waiting): Promise<Verdict> {
    if (signal.aborted) return 'left'
    const known = this.#remembered(claim)
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

  #remembered(claim: Claim): string | undefined {
    const { deviceId } = claim
    const digest = this.#right.get(deviceId)
    const passwordHash = this.#options.users()?.get(deviceId)
    if (digest === undefined || passwordHash === undefined) return undefined
    if (!isSame(digest, this.#digestOf(claim, passwordHash))) return undefined
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
