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

/** Aborted on SIGINT, SIGTERM, or when the parent that asked for it (IPC or `leash`) goes away. */
export function untilSignal(process: NodeJS.Process): AbortSignal {
  const controller = new AbortController()
  const stop = (): void => controller.abort()
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
