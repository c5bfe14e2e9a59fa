import type { Clock } from './clock.ts'

/** What a composition root opened, closed in reverse order, once, whatever happens. */
export interface Scope {
  /** Registers how to close a part; returns the part. */
  own<T extends { close(): Promise<void> | void }>(part: T): T
  /** Closes everything, newest first. Idempotent. The first failure is rethrown after all were tried. */
  close(): Promise<void>
}

export function createScope(): Scope {
  const parts: { close(): Promise<void> | void }[] = []
  let closing: Promise<void> | undefined

  async function closeAll(): Promise<void> {
    const failures: unknown[] = []
    for (let part = parts.pop(); part; part = parts.pop()) {
      try {
        await part.close()
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) throw failures[0]
  }

  return {
    own(part) {
      parts.push(part)
      return part
    },
    close: () => (closing ??= closeAll()),
  }
}

/** Said when a terminal goes away, or somebody hopes that files are read again. */
export const hangUpText =
  'SIGHUP: stopping in good order; nothing is read again while it runs, start it anew for that'

/** Aborted on SIGINT, SIGTERM, on SIGHUP if somebody wants to be told of it, or when the parent that asked for it (IPC or `leash`) goes away. */
export function untilSignal(
  process: NodeJS.Process,
  { onHangUp }: { onHangUp?: () => void } = {},
): AbortSignal {
  const controller = new AbortController()
  const stop = (): void => controller.abort()
  if (onHangUp) {
    process.once('SIGHUP', onHangUp)
    // Each time: of a terminal that goes away the shell tells it, and the system again.
    process.on('SIGHUP', stop)
  }
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
  // A program started with IPC has send(), also when its parent died before it came this far.
  if (process.send !== undefined && !process.connected) stop()
  process.once('disconnect', stop)
  // To listen is no reason to stay: a program that has stopped ends.
  process.channel?.unref()
  return controller.signal
}

/** Resolves when `signal` is aborted. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

/** Waits for `work` until `signal` is aborted, then rejects with its reason. What `work` does later is not heard. */
export async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const settled = new AbortController()
  try {
    return await new Promise<T>((resolve, reject) => {
      work.then(resolve, reject)
      const cut = (): void => reject(signal.reason as Error)
      if (signal.aborted) cut()
      else signal.addEventListener('abort', cut, { once: true, signal: settled.signal })
    })
  } finally {
    settled.abort()
  }
}

/** Waits for `work`, but no longer than `timeoutMs`: for closing what may never answer. Passes its error on. */
export async function atMost(work: Promise<unknown>, timeoutMs: number, clock: Clock): Promise<void> {
  let timer = { cancel(): void {} }
  const late = new Promise<void>((resolve) => (timer = clock.after(timeoutMs, resolve)))
  try {
    await Promise.race([work, late])
  } finally {
    timer.cancel()
  }
}
