import { backoffMs } from '../../../src/backoff.ts'
import { codeOf, isAbort, messageOf } from '../../../src/errors.ts'
import { encodeAnswered } from '../layout/answered.ts'
import { storeVersion } from '../layout/head.ts'
import type { Loader } from '../opening/loader.ts'
import type { Known, Loaded } from '../opening/recovery.ts'
import type { State } from '../opening/state.ts'
import { allHanded, isComplete } from './accounting.ts'
import type { Command, Core } from './core.ts'
import type { Departures } from './departures.ts'
import { Draft } from './draft.ts'
import { appendLedgerEntry, reportInto } from './ledger-entries.ts'
import type { Oldest } from './oldest.ts'
import { closedError } from './writer-state.ts'

const storeFailures = ['STORE_UNAVAILABLE', 'STORE_CORRUPT']
const reopenBackoff = { delayMsMin: 100, delayMsMax: 5000 }

/** After these the store has to be opened again; any other error says nothing about it. */
export function isStoreFailure(error: unknown): boolean {
  return storeFailures.includes(codeOf(error))
}

/** What reopening asks of the engine's writer. */
export interface ReopeningWriter {
  submit(command: Extract<Command, { kind: 'recount' | 'reload' }>): Promise<void>
  /** One atomic write, outside the order of commands: none is carried out meanwhile. */
  write(draft: Draft, options: { sync: boolean }): Promise<void>
}

export interface ReopeningParts {
  loader: Loader
  departures: Departures
  oldest: Oldest
}

/** Takes over what was loaded, at the start and each time the store failed (I1, I7). */
export class Reopening {
  readonly #core: Core
  readonly #parts: ReopeningParts
  readonly #writer: ReopeningWriter
  /** Aborted: a store that fails is not opened again. */
  readonly #hopeful: AbortSignal
  #checking: Promise<void> = Promise.resolve()

  constructor(core: Core, parts: ReopeningParts, writer: ReopeningWriter) {
    this.#core = core
    this.#parts = parts
    this.#writer = writer
    const { signal } = core.options
    this.#hopeful = signal ? AbortSignal.any([signal, core.closing]) : core.closing
  }

  /** The first time. The store is closed if this fails. */
  async begin(loaded: Loaded): Promise<void> {
    try {
      await this.takeOver(loaded)
      this.#checkInBackground(loaded.clean)
    } catch (error) {
      // What is opened can still turn out to be damaged; anything else is for who starts us to hear.
      if (codeOf(error) === 'STORE_CORRUPT') return this.reopen(1, error)
      await loaded.store.close()
      throw error
    }
  }

  /** Says what loading found, and tells the cloud about damage before anything else is admitted. */
  async takeOver(loaded: Loaded): Promise<void> {
    const core = this.#core
    const { log, folder } = core.options
    const damaged = loaded.damage.length > 0
    core.diskFreeBytes = await folder.freeBytes()
    await this.#parts.loader.restoreReserve(core.diskFreeBytes)
    const draft = new Draft(core.state)
    draft.operations.push(...loaded.operations)
    draft.discard(loaded.unreadable)
    for (const entry of loaded.announcements) appendLedgerEntry(core, draft, entry)
    if (damaged) while (core.state.undelivered.size > 0) reportInto(core, draft)
    const lost = loaded.damage.reduce((sum, damage) => sum + damage.lost, 0)
    if (lost > 0) draft.undelivered.set('lost', lost)
    draft.touch()
    // An older version must not be let at what this one writes next.
    const isOlder = core.state.head.version < storeVersion
    await this.#writer.write(draft, { sync: damaged || isOlder })
    // Synced: after a power cut an older run's word that it closed in order would be taken for this one's.
    await core.state.store.noteAnswered(encodeAnswered(core.state.head, { closed: false }), { sync: true })
    for (const damage of loaded.damage)
      log.error({ code: 'OUTBOX_DAMAGED', ...damage }, 'the outbox was damaged')
    if (isOlder) {
      log.info('the outbox is of an earlier layout: its remembered IDs are sorted, once')
      await core.state.dedup.settle()
    }
    await this.#parts.oldest.look()
  }

  /**
   * Opens the folder again, as often as it takes, and goes on with what is on the disk.
   * @throws TidegateError `OUTBOX_CLOSED` once the gateway is about to stop
   */
  async reopen(attempt: number, reason: unknown): Promise<void> {
    const core = this.#core
    const { loader, departures } = this.#parts
    const { clock, random, log } = core.options
    const known: Known = { head: core.state.head }
    if (codeOf(reason) === 'STORE_CORRUPT') known.fault = messageOf(reason)
    for (let tries = attempt; ; tries++) {
      if (this.#hopeful.aborted) throw closedError()
      try {
        await core.state.store.close()
        await loader.spendReserve()
        await clock.sleep(backoffMs(tries, reopenBackoff, random), this.#hopeful)
        const loaded = await loader.load(known)
        // What is found is not on record before the write below has landed.
        if (loaded.damage[0]) known.fault ??= loaded.damage[0].detail
        departures.goOnWith(await loader.stateOf(loaded))
        core.removing.clear()
        core.doubtful = allHanded(core)
        await this.takeOver(loaded)
        this.#checkInBackground(true)
        return
      } catch (error) {
        if (isAbort(error)) throw closedError()
        log.error(
          { code: codeOf(error), detail: messageOf(error), tries },
          'the outbox cannot be opened again yet',
        )
      }
    }
  }

  /** A store that fails when it is read has to be opened again as much as one that fails when it is written. */
  async reloadAfter(error: unknown, state: State, what: string): Promise<void> {
    if (this.#core.closing.aborted) return
    try {
      if (!isStoreFailure(error)) throw error
      await this.#writer.submit({ kind: 'reload', state, error })
    } catch {
      this.#core.options.log.error({ code: codeOf(error), detail: messageOf(error) }, what)
    }
  }

  /** No check is under way any more. */
  settled(): Promise<void> {
    return this.#checking
  }

  /** After a crash: counts whether everything is there. */
  #checkInBackground(clean: boolean): void {
    const { state, closing } = this.#core
    const check = async (): Promise<void> => {
      try {
        if (!clean && !(await isComplete(state, closing))) await this.#writer.submit({ kind: 'recount' })
      } catch (error) {
        await this.reloadAfter(error, state, 'checking the outbox failed')
      }
    }
    const before = this.#checking
    this.#checking = check().then(() => before)
  }
}
