import type { Clock } from '../../../src/clock.ts'
import { codeOf, messageOf, TidegateError } from '../../../src/errors.ts'
import type { Logger } from '../../../src/log.ts'
import { createThrottle } from '../../../src/throttle.ts'
import {
  type LoadedTrust,
  loadCasOf,
  loadDeniedOf,
  loadListsOf,
  loadPair,
  marksOf,
  type TrustFiles,
} from './files.ts'
import type { StalePolicy, TrustInForce } from './judgement.ts'

/** What became of files that were read again: `failed` if one was faulty, of which what was in force still is. */
export const reloadResults = ['loaded', 'failed'] as const

export type ReloadResult = (typeof reloadResults)[number]

export interface TrustFollower {
  /** Something else may be in force. */
  reloaded(result: ReloadResult): void
  /** A second has passed. */
  passed(): void
}

/** Who may come in, as the files say it now. */
export interface Trust {
  readonly inForce: TrustInForce
  readonly stale: StalePolicy
  /** Reads all files again, whether or not they have changed. Never rejects: what is faulty is logged, and what was in force stays. */
  reload(): Promise<void>
  watch(follower: TrustFollower): void
  /** Idempotent. */
  close(): void
}

export interface TrustOptions {
  files: TrustFiles
  stale: StalePolicy
  /** What was read of them at the start. */
  loaded: LoadedTrust
  clock: Clock
  log: Logger
}

/**
 * Files are looked at every second rather than watched: a look sees what was written in place, renamed into it, and links that
 * were swung round above it, on every file system; what a watch tells differs between these and can be lost.
 */
const lookEveryMs = 1000
const staleWarningEveryMs = 3_600_000
/** A certificate that is valid only later comes to be, and nobody writes it again then. */
const tryAgainAfterMs = 60_000

/** Looks after the files until it is closed. A file that has changed is read when it has lain still from one look to the next. */
export function startTrust(options: TrustOptions): Trust {
  return new WatchedTrust(options)
}

class WatchedTrust implements Trust {
  inForce: TrustInForce
  readonly stale: StalePolicy
  readonly #options: TrustOptions
  readonly #followers: TrustFollower[] = []
  readonly #mayWarn: (key: string) => number | undefined
  /** Of the files as they were last read, and last seen. */
  #read: string
  #seen: string
  #tryAgainAtMs = Infinity
  #reloading: Promise<void> = Promise.resolve()
  #timer: { cancel(): void }
  #closed = false

  constructor(options: TrustOptions) {
    this.#options = options
    this.inForce = options.loaded
    this.stale = options.stale
    this.#read = options.loaded.marks
    this.#seen = options.loaded.marks
    this.#mayWarn = createThrottle(options.clock, staleWarningEveryMs)
    this.#warnOf(options.loaded)
    this.#warnOfStaleLists()
    this.#timer = this.#next()
  }

  watch(follower: TrustFollower): void {
    this.#followers.push(follower)
  }

  reload(): Promise<void> {
    return (this.#reloading = this.#reloading.then(() => this.#reload()))
  }

  close(): void {
    this.#closed = true
    this.#timer.cancel()
  }

  #next(): { cancel(): void } {
    return this.#options.clock.after(lookEveryMs, () => void this.#look())
  }

  async #look(): Promise<void> {
    const marks = await marksOf(this.#options.files)
    const lainStill = marks === this.#seen
    this.#seen = marks
    const due = marks !== this.#read || this.#options.clock.monotonicMs() >= this.#tryAgainAtMs
    if (lainStill && due) await this.reload()
    if (this.#closed) return
    this.#warnOfStaleLists()
    for (const follower of this.#followers) follower.passed()
    this.#timer = this.#next()
  }

  async #reload(): Promise<void> {
    const { files, clock, log } = this.#options
    // Before they are read: what is written meanwhile is read once more.
    this.#read = await marksOf(files)
    this.#tryAgainAtMs = Infinity
    const { inForce } = this
    let faults = 0
    const orKept = async <T>(load: () => T | Promise<T>, kept: T): Promise<T> => {
      try {
        return await load()
      } catch (error) {
        faults += 1
        if (error instanceof TidegateError && error.retryable)
          this.#tryAgainAtMs = clock.monotonicMs() + tryAgainAfterMs
        log.error(aboutFault(error), 'a file of mqtt.tls is faulty; what was in force stays')
        return kept
      }
    }
    const cas = await orKept(() => loadCasOf(files), inForce.cas)
    const pair = await orKept(() => loadPair(files, cas, new Date(clock.now())), inForce.pair)
    const lists = await orKept(() => loadListsOf(files, cas.authorities), inForce.lists)
    const denied = await orKept(() => loadDeniedOf(files), inForce.denied)
    if (this.#closed) return
    this.inForce = { cas, pair, lists, denied }
    this.#warn(pair.warnings)
    this.#warnOf(this.inForce)
    const { devices, serials } = denied
    const about = {
      notAfter: pair.notAfter,
      revoked: lists?.revoked,
      denied: devices.size + serials.size,
      faults,
    }
    log.info(about, 'the files of mqtt.tls were read again')
    for (const follower of this.#followers) follower.reloaded(faults === 0 ? 'loaded' : 'failed')
  }

  #warnOf({ cas, lists }: TrustInForce): void {
    this.#warn(cas.warnings)
    this.#warn(lists?.warnings)
  }

  #warn(warnings: readonly string[] = []): void {
    for (const warning of warnings) this.#options.log.warn({ where: 'mqtt.tls' }, warning)
  }

  #warnOfStaleLists(): void {
    const { clock, log, stale, files } = this.#options
    const { lists } = this.inForce
    if (lists === undefined || clock.now() <= lists.nextUpdateMs || this.#mayWarn('stale') === undefined)
      return
    const nextUpdate = new Date(lists.nextUpdateMs)
    log.warn(
      { code: 'CRL_STALE', file: files.crl, nextUpdate },
      stale === 'accept'
        ? 'a revocation list should have been replaced by now; what was revoked since is not known, and is let in'
        : 'a revocation list should have been replaced by now; nobody it is about is let in until it is',
    )
  }
}

function aboutFault(error: unknown): Record<string, unknown> {
  const hint = error instanceof TidegateError ? { hint: error.hint } : {}
  return { code: codeOf(error), detail: messageOf(error), ...hint }
}
