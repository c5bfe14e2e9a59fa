import type { Clock } from '../../../src/clock.ts'
import { TidegateError } from '../../../src/errors.ts'

/**
 * Runs `work` for at most `timeoutMs`. Its signal is aborted at the timeout and when `parent` is; either way this
 * settles at once, so that work which ignores its signal holds nobody up.
 * @throws TidegateError `HANDLER_TIMEOUT` (retryable), or the parent's reason.
 */
export async function bounded<T>(
  work: (signal: AbortSignal) => Promise<T> | T,
  options: { timeoutMs: number; parent: AbortSignal; clock: Clock },
): Promise<T> {
  const { timeoutMs, parent, clock } = options
  parent.throwIfAborted()
  const controller = new AbortController()
  const { signal } = controller
  const timer = clock.after(timeoutMs, () => controller.abort(timedOut(timeoutMs)))
  const pass = (): void => controller.abort(parent.reason)
  parent.addEventListener('abort', pass, { once: true })
  try {
    return await new Promise<T>((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
      Promise.resolve(work(signal)).then(resolve, reject)
    })
  } finally {
    timer.cancel()
    parent.removeEventListener('abort', pass)
  }
}

function timedOut(timeoutMs: number): TidegateError {
  return new TidegateError('HANDLER_TIMEOUT', {
    message: `the handler took longer than ${timeoutMs} ms and was abandoned`,
    retryable: true,
    hint: 'pass context.signal to whatever can hang, or raise the timeout of this consumer',
  })
}
