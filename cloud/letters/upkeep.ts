import { TidegateError } from '../../src/errors.ts'
import type { Clock } from '../../src/clock.ts'
import { codeOf, isAbort, messageOf } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'

/** How many open letters a group has, and what they take. */
export interface Standing {
  group: string
  open: number
  bytes: number
  /** How long ago the oldest of them failed; undefined if there is none. */
  oldestAgeMs: number | undefined
}

/** The replays that have not ended, together. */
export interface ReplaysUnderWay {
  replays: number
  /** How long ago the first of them was asked for; 0 while there is none. */
  oldestAgeMs: number
  /** For how long nothing has moved in the one that has stood still the longest; 0 while there is none. */
  stillMs: number
  /** Of their letters, and events of history. */
  sent: number
  resolved: number
  failed: number
  repeats: number
  /** Positions of history that those out of history have not looked at. */
  historyLeft: number
}

/** A cause that somebody had called resolved, and that is back. */
export interface Regressed {
  fingerprint: string
  group: string
  code: string
  resolvedVersion: string | undefined
  version: string | undefined
}

/** What is done with letters besides writing them. Port; the adapter is upkeep-postgres.ts. */
export interface Upkeep {
  /** Adds up what has been counted. Any number of instances may. */
  fold(): Promise<Regressed[]>
  standing(): Promise<Standing[]>
  replays(): Promise<ReplaysUnderWay>
  /** Forgets letters that were closed longer than `retentionMs` ago, and causes of which there is nothing left. @returns how many letters. */
  age(retentionMs: number, signal: AbortSignal): Promise<number>
}

export interface LetterBounds {
  /** Most open letters of a group. */
  max: number
  /** Most bytes that the bodies of a group's open letters take. */
  bytesMax: number
}

export interface BookOptions extends LetterBounds {
  upkeep: Upkeep
  closedRetentionMs: number
  clock: Clock
  log: Logger
}

/** How the letters stand, some seconds old. */
export interface LetterBook {
  standing(): readonly Standing[]
  replays(): ReplaysUnderWay
  /** Why no letter of a group can be added now. */
  full(group: string): TidegateError | undefined
  close(): Promise<void>
}

/** There is none. */
export const noReplays: ReplaysUnderWay = {
  replays: 0,
  oldestAgeMs: 0,
  stillMs: 0,
  sent: 0,
  resolved: 0,
  failed: 0,
  repeats: 0,
  historyLeft: 0,
}

const everyMs = 5_000
const ageEveryMs = 3_600_000

/** Keeps the account from now on until closed. A database that is down is asked again; what was known before holds until then. */
export function startLetterBook(options: BookOptions): LetterBook {
  const { upkeep, clock, log, max, bytesMax } = options
  const stopping = new AbortController()
  const { signal } = stopping
  let standing: readonly Standing[] = []
  let replays: ReplaysUnderWay = noReplays
  let agedMs = -Infinity
  let failed = false

  async function look(): Promise<void> {
    for (const regressed of await upkeep.fold()) tellRegressed(regressed, log)
    standing = await upkeep.standing()
    replays = await upkeep.replays()
    if (clock.monotonicMs() - agedMs < ageEveryMs) return
    const removed = await upkeep.age(options.closedRetentionMs, signal)
    agedMs = clock.monotonicMs()
    if (removed > 0) log.info({ removed }, 'forgot closed dead letters')
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      try {
        await look()
        failed = false
      } catch (error) {
        if (!isAbort(error) && !failed)
          log.warn({ code: codeOf(error) }, `could not add up the dead letters: ${messageOf(error)}`)
        failed = true
      }
      await clock.sleep(everyMs, signal).catch(() => {})
    }
  }

  const running = run()
  return {
    standing: () => standing,
    replays: () => replays,
    full(group) {
      const own = standing.find((one) => one.group === group)
      if (own === undefined || (own.open < max && own.bytes < bytesMax)) return undefined
      return full(own, options)
    },
    close() {
      stopping.abort()
      return running
    },
  }
}

function full({ group, open, bytes }: Standing, { max, bytesMax }: LetterBounds): TidegateError {
  return new TidegateError('DEAD_LETTERS_FULL', {
    message: `group ${group} has ${open} open dead letters of ${bytes} bytes, and ${max} of ${bytesMax} are the most`,
    retryable: true,
    hint: 'resolve or discard them, by what they have in common (tidegate.failure_groups), or raise deadLetters.max and deadLetters.bytesMax',
  })
}

function tellRegressed({ resolvedVersion, version, ...about }: Regressed, log: Logger): void {
  const between = `version ${version ?? 'unknown'}, resolved in ${resolvedVersion ?? 'unknown'}`
  log.warn({ ...about, resolvedVersion, version }, `a failure that was resolved is back: ${between}`)
}
