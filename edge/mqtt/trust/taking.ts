import { codeOf, messageOf, TidegateError } from '../../../src/errors.ts'
import type { Logger } from '../../../src/log.ts'
import type { TrustInForce } from './judgement.ts'
import {
  digestOf,
  judgePublished,
  type PublishedFile,
  type PublishedGrounds,
  type PublishedInForce,
} from './published.ts'

/** What became of lists that came down; `known`: they were in force already. */
export type Taken = 'taken' | 'known' | 'refused'

export interface TakingOptions {
  file: PublishedFile
  inForce: () => TrustInForce
  /** Reads all files again. */
  reload: () => Promise<void>
  log: Logger
}

/** Takes lists that come down with the uplink, one after the other. */
export class Taking {
  readonly #options: TakingOptions
  #last: Promise<unknown> = Promise.resolve()
  /** How often some were refused. */
  refused = 0

  constructor(options: TakingOptions) {
    this.#options = options
  }

  /** As `Trust.take`. */
  take(json: Uint8Array): Promise<Taken> {
    const taken = this.#last.then(() => this.#take(json))
    this.#last = taken.catch(() => {})
    return taken
  }

  async #take(json: Uint8Array): Promise<Taken> {
    const { log } = this.#options
    try {
      return await this.#takeUnlessRefused(json)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      this.refused += 1
      log.error(
        aboutFault(error.cause),
        'lists that came down with the uplink are refused; what was in force stays',
      )
      return 'refused'
    }
  }

  async #takeUnlessRefused(json: Uint8Array): Promise<Taken> {
    const { file, inForce, reload, log } = this.#options
    const digest = digestOf(json)
    const isKnown = (): boolean => inForce().published?.digest === digest
    if (isKnown()) {
      if (await file.holds(digest)) return 'known'
      // Lost, or replaced by what is newer.
      await reload()
      if (!isKnown()) return 'known'
    }
    let on = inForce()
    let judged = await this.#judge(json, on)
    await file.write(json, async () => {
      const now = inForce()
      if (now !== on) judged = await this.#judge(json, (on = now))
      return { judged, grounds: groundsOf(on) }
    })
    const { number, issuedMs } = judged
    log.info({ number, issued: new Date(issuedMs) }, 'lists came down with the uplink')
    await reload()
    return 'taken'
  }

  async #judge(json: Uint8Array, on: TrustInForce): Promise<PublishedInForce> {
    return judgePublished(json, groundsOf(on)).catch((cause: unknown) => {
      throw new Refusal('refused', { cause })
    })
  }
}

class Refusal extends Error {}

/** What published lists are judged by, of what the entrance goes by. */
export function groundsOf({ cas, lists, denied, published }: TrustInForce): PublishedGrounds {
  return { authorities: cas.authorities, lists, denied, published }
}

export function aboutFault(error: unknown): Record<string, unknown> {
  const hint = error instanceof TidegateError ? { hint: error.hint } : {}
  return { code: codeOf(error), detail: messageOf(error), ...hint }
}
