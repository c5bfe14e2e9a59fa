import type { Clock } from '../../../src/clock.ts'
import { groupCommit } from '../../../src/group-commit.ts'
import type { Logger } from '../../../src/log.ts'
import { createThrottle } from '../../../src/throttle.ts'
import { FileWatch } from '../../../src/files/file-watch.ts'
import {
  type LoadedTrust,
  loadCasOf,
  loadDeniedOf,
  loadPair,
  loadUsersOf,
  marksOf,
  type TrustFiles,
} from './files.ts'
import type { StalePolicy, TrustInForce } from './judgement.ts'
import { aboutFault, groundsOf, type Taken, Taking } from './taking.ts'

/** What became of files that were read again: `failed` if one was faulty, of which what was in force still is. */
export const reloadResults = ['loaded', 'failed'] as const

export type ReloadResult = (typeof reloadResults)[number]

/** What of `mqtt.tls`, and `mqtt.users`, is read, and can be faulty, each by itself; the values of the metric's `part`. */
export const trustParts = ['ca', 'certificate', 'crl', 'denied', 'published', 'users'] as const

export type TrustPart = (typeof trustParts)[number]

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
  /** Whose files are faulty: what was read of them before is in force. */
  readonly faulty: ReadonlySet<TrustPart>
  /**
   * Reads all files again, whether or not they have changed; all who ask while they are read share the next time. Never rejects:
   * what is faulty is logged, and what was in force stays.
   */
  reload(): Promise<void>
  /**
   * Lists as they came down with the uplink. Resolves when they are on the disk and in force, are so already, or were refused, which is
   * logged and counted and changes nothing. Rejects when they could not be written.
   */
  take(json: Uint8Array): Promise<Taken>
  /** How often lists that came down were refused. */
  readonly refusedLists: number
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
  /** How files are looked at; default: their status, see `marksOf`. */
  look?: (files: TrustFiles) => Promise<string>
}

const tickEveryMs = 1000
const staleWarningEveryMs = 3_600_000
/** What is faulty may come right without anybody writing it again: its day comes, a disk answers, somebody may read it. */
const tryAgainAfterMs = 60_000
/** A look at files takes a millisecond; one that takes so long hangs. */
const hangsAfterMs = 10_000

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
  readonly #files: FileWatch
  readonly #reads = groupCommit<void, void>((asked) => this.#readFor(asked), { itemsMax: Infinity })
  #faulty: ReadonlySet<TrustPart> = new Set()
  #tryAgainAtMs = Infinity
  #timer: { cancel(): void }
  #closed = false
  readonly #taking: Taking | undefined

  constructor(options: TrustOptions) {
    const { files, loaded, stale, clock, look = marksOf } = options
    this.#options = options
    this.inForce = { ...loaded, publishedUnread: loaded.publishedFault !== undefined }
    this.stale = stale
    this.#mayWarn = createThrottle(clock, staleWarningEveryMs)
    const onChanged = (): Promise<void> => this.reload()
    this.#files = new FileWatch({ look: () => look(files), read: loaded.marks, onChanged, clock })
    const { publishedFile: file } = loaded
    const taking = { inForce: () => this.inForce, reload: () => this.reload(), log: options.log }
    this.#taking = file && new Taking({ file, ...taking })
    this.#warnOf(loaded)
    if (loaded.publishedFault !== undefined) this.#startWithoutPublished(loaded.publishedFault)
    this.#warnOfStaleLists()
    this.#timer = this.#next()
  }

  /** All parts while nobody can tell: a file system that does not answer. */
  get faulty(): ReadonlySet<TrustPart> {
    return this.#files.looksForMs > hangsAfterMs ? new Set(trustParts) : this.#faulty
  }

  watch(follower: TrustFollower): void {
    this.#followers.push(follower)
  }

  reload(): Promise<void> {
    return this.#reads.submit()
  }

  async take(json: Uint8Array): Promise<Taken> {
    return this.#taking?.take(json) ?? 'refused'
  }

  get refusedLists(): number {
    return this.#taking?.refused ?? 0
  }

  close(): void {
    this.#closed = true
    this.#files.close()
    this.#timer.cancel()
  }

  #next(): { cancel(): void } {
    return this.#options.clock.after(tickEveryMs, () => this.#tick())
  }

  /** Apart from the looks at the files, which may hang: certificates end all the same. */
  #tick(): void {
    const { clock, log } = this.#options
    this.#warnOfStaleLists()
    if (this.#files.looksForMs > hangsAfterMs && this.#mayWarn('hangs') !== undefined)
      log.warn(
        { forMs: this.#files.looksForMs },
        'the files of mqtt.tls cannot be looked at: their file system does not answer',
      )
    this.#tell((follower) => follower.passed())
    if (clock.monotonicMs() >= this.#tryAgainAtMs) {
      this.#tryAgainAtMs = clock.monotonicMs() + tryAgainAfterMs
      void this.reload()
    }
    this.#timer = this.#next()
  }

  async #readFor(asked: readonly void[]): Promise<void[]> {
    await this.#files.beforeReading()
    try {
      await this.#readAll()
    } catch (error) {
      this.#options.log.error(aboutFault(error), 'the files of mqtt.tls could not be read again')
    }
    return [...asked]
  }

  async #readAll(): Promise<void> {
    const { files, loaded, clock, log } = this.#options
    const { inForce } = this
    const faulty = new Set<TrustPart>()
    const orKept = async <T>(part: TrustPart, load: () => T | Promise<T>, kept: T): Promise<T> => {
      try {
        return await load()
      } catch (error) {
        faulty.add(part)
        log.error({ part, ...aboutFault(error) }, 'a file of mqtt.tls is faulty; what was in force stays')
        return kept
      }
    }
    const cas = await orKept('ca', () => loadCasOf(files), inForce.cas)
    const now = new Date(clock.now())
    const pair = await orKept('certificate', () => loadPair(files, cas, now), inForce.pair)
    const lists = await orKept(
      'crl',
      async () => loaded.listFile?.read(cas.authorities, inForce.lists),
      inForce.lists,
    )
    const denied = await orKept('denied', () => loadDeniedOf(files), inForce.denied)
    const users = await orKept('users', () => loadUsersOf(files), inForce.users)
    const published = await orKept(
      'published',
      () => loaded.publishedFile?.read(groundsOf({ ...inForce, cas, lists, denied })),
      inForce.published,
    )
    if (this.#closed) return
    const publishedUnread = published === undefined && faulty.has('published')
    this.inForce = { cas, pair, lists, denied, published, publishedUnread, users }
    this.#faulty = faulty
    this.#tryAgainAtMs = faulty.size > 0 ? clock.monotonicMs() + tryAgainAfterMs : Infinity
    this.#warn(pair.warnings)
    this.#warnOf(this.inForce)
    const { devices, serials } = denied
    const about = {
      notAfter: pair.notAfter,
      revoked: lists?.revoked,
      denied: devices.size + serials.size,
      published: published?.number,
      users: users?.size,
      faults: faulty.size,
    }
    log.info(about, 'the files of mqtt.tls were read again')
    this.#tell((follower) => follower.reloaded(faulty.size === 0 ? 'loaded' : 'failed'))
  }

  #startWithoutPublished(fault: unknown): void {
    this.#faulty = new Set(['published'])
    this.#tryAgainAtMs = this.#options.clock.monotonicMs() + tryAgainAfterMs
    this.#options.log.error(
      { part: 'published', ...aboutFault(fault) },
      this.stale === 'accept'
        ? 'lists that came down before cannot be used; whoever is on them alone is let in until they come again'
        : 'lists that came down before cannot be used; nobody is let in but by a list of mqtt.tls.crl until they come again',
    )
  }

  /** One that fails holds up neither the others nor the next time. */
  #tell(what: (follower: TrustFollower) => void): void {
    for (const follower of this.#followers)
      try {
        what(follower)
      } catch (error) {
        this.#options.log.error(aboutFault(error), 'not everything goes by the files of mqtt.tls as they are')
      }
  }

  #warnOf({ cas, lists, published }: TrustInForce): void {
    this.#warn(cas.warnings)
    this.#warn(lists?.warnings)
    this.#warn(published?.lists?.warnings)
  }

  #warn(warnings: readonly string[] = []): void {
    for (const warning of warnings) this.#options.log.warn({ where: 'mqtt.tls' }, warning)
  }

  #warnOfStaleLists(): void {
    const { clock, log, stale, files } = this.#options
    const { lists, published } = this.inForce
    const all = { [files.crl ?? '']: lists, 'the published lists': published?.lists }
    for (const [file, one] of Object.entries(all)) {
      if (one === undefined || clock.now() <= one.nextUpdateMs || this.#mayWarn(file) === undefined) continue
      const nextUpdate = new Date(one.nextUpdateMs)
      log.warn(
        { code: 'CRL_STALE', file, nextUpdate },
        stale === 'accept'
          ? 'a revocation list should have been replaced by now; what was revoked since is not known, and is let in'
          : 'a revocation list should have been replaced by now; nobody it is about is let in until it is',
      )
    }
  }
}
