import { TidegateError } from '../../../src/errors.ts'
import type { Handler } from '../../pipeline/definition.ts'
import { outageOf } from '../../protection/unavailable.ts'
import type { Activity } from '../activity.ts'
import type { Run } from '../run.ts'
import type { Plan } from './plans.ts'

/** After so many calls in a row for which something was not there, nobody waits for it any longer. */
const outagesMax = 3

/** What happens to a run at the calls that its plan names. */
export class Trouble {
  run: Run | undefined
  readonly #what: Plan['what']
  readonly #at: Set<number>
  readonly #failed = new Set<string>()
  #outages = 0
  #calls = 0
  #isDue = false
  #hasCrashed = false

  constructor({ what, at }: Plan, events: number) {
    this.#what = what
    this.#at = new Set(at.map((part) => Math.floor(part * events)))
  }

  /** The handler is about to be called for so many events. */
  called(events: number): void {
    for (let event = 0; event < events; event++)
      if (this.#at.delete(this.#calls++)) this.#isDue = this.#what !== 'nothing'
    if (!this.#isDue || this.#what !== 'drop') return
    this.#isDue = false
    this.run?.drop()
  }

  /** The handler is done with these: it may be told that it has failed, of each event once. */
  worked(ids: readonly string[]): void {
    this.#outages = 0
    if (!this.#isDue || this.#what !== 'fail' || ids.some((id) => this.#failed.has(id))) return
    this.#isDue = false
    for (const id of ids) this.#failed.add(id)
    throw new Error('the test lets this attempt fail')
  }

  threw(error: unknown): void {
    this.#outages = outageOf(error) === undefined ? 0 : this.#outages + 1
  }

  /** What the handler needs is not there, and is not coming. */
  get isUnavailable(): boolean {
    return this.#outages >= outagesMax
  }

  beforeCommit(): void {
    if (this.#what === 'crash-before-commit') this.#crash()
  }

  afterCommit(): void {
    if (this.#what === 'crash-after-commit') this.#crash()
  }

  /** Once of each crash. */
  takeCrash(): boolean {
    const crashed = this.#hasCrashed
    this.#hasCrashed = false
    return crashed
  }

  #crash(): void {
    if (!this.#isDue) return
    this.#isDue = false
    this.#hasCrashed = true
    throw new TidegateError('DATABASE_UNREACHABLE', {
      message: 'the test has ended the process here',
      retryable: true,
      hint: 'nothing: the next process takes over',
    })
  }
}

interface Troubles {
  activity: Activity
  trouble: Trouble
  thrown: Map<string, unknown>
}

export function troubled(handler: Handler, { activity, trouble, thrown }: Troubles): Handler {
  const calling = async (ids: readonly string[], call: () => Promise<void> | void): Promise<void> => {
    trouble.called(ids.length)
    try {
      await activity.count('handlers', call)
    } catch (error) {
      trouble.threw(error)
      for (const id of ids) thrown.set(id, error)
      throw error
    }
    trouble.worked(ids)
  }
  return handler.kind === 'single'
    ? {
        kind: 'single',
        handle: (event, context) => calling([event.id], () => handler.handle(event, context)),
      }
    : {
        kind: 'batch',
        handleBatch: (entries, context) =>
          calling(
            entries.map(({ event }) => event.id),
            () => handler.handleBatch(entries, context),
          ),
      }
}
