import type { Clock } from '../src/clock.ts'
import { isAbort } from '../src/errors.ts'
import { aborted } from '../src/lifecycle.ts'

/** How somebody stops a run. */
export interface Quit {
  /** Asked once: in good order. */
  readonly asked: AbortSignal
  /** Asked again: at once. */
  readonly insisted: AbortSignal
  ask(): void
}

export interface QuitOptions {
  process: Pick<NodeJS.Process, 'on'>
  /** Aborted when whoever started us is no longer there. */
  gone: AbortSignal
  clock: Clock
}

/** One Ctrl-C may come twice, from the terminal and passed on by npm; and a key that is held repeats itself. */
const sameWithinMs = 500

/** Asks on SIGINT, on SIGTERM, and when `gone` is aborted. */
export function createQuit({ process, gone, clock }: QuitOptions): Quit {
  const asking = new AbortController()
  const insisting = new AbortController()
  let askedAtMs = 0
  const ask = (): void => {
    if (!asking.signal.aborted) {
      askedAtMs = clock.monotonicMs()
      asking.abort()
    } else if (clock.monotonicMs() - askedAtMs >= sameWithinMs) insisting.abort()
  }
  process.on('SIGINT', ask)
  process.on('SIGTERM', ask)
  void aborted(gone).then(ask)
  return { asked: asking.signal, insisted: insisting.signal, ask }
}

/** What the work comes to; undefined if `signal` is aborted first. The work is then nobody's any more. */
export async function unless<T>(signal: AbortSignal, work: Promise<T>): Promise<T | undefined> {
  try {
    return await Promise.race([work, aborted(signal).then(() => undefined)])
  } catch (error) {
    if (signal.aborted && isAbort(error)) return undefined
    throw error
  }
}
