import { messageOf, TidegateError } from '../errors.ts'

type Loads = Readonly<Record<string, () => unknown>>

/**
 * Everything that was asked for; or, where several of it cannot be had, all that is wrong at once: whoever mends one fault after the other
 * starts a gateway five times.
 * @throws what the one that failed has thrown; TidegateError `START_FAULTS` if several have
 */
export async function allOf<L extends Loads>(
  loads: L,
): Promise<{ [K in keyof L]: Awaited<ReturnType<L[K]>> }> {
  const entries = Object.entries(loads)
  const settled = await Promise.allSettled(entries.map(async ([, load]) => load()))
  const failed = settled.flatMap((one) => (one.status === 'rejected' ? faultsIn(one.reason) : []))
  if (failed.length === 1) throw failed[0]
  if (failed.length > 1) throw severalFaults(failed)
  const values = settled.map((one) => (one.status === 'fulfilled' ? one.value : undefined))
  return Object.fromEntries(entries.map(([name], index) => [name, values[index]])) as {
    [K in keyof L]: Awaited<ReturnType<L[K]>>
  }
}

/** What is told together was told together before: the faults in it are told one by one. */
function faultsIn(error: unknown): readonly unknown[] {
  const several =
    error instanceof TidegateError && error.code === 'START_FAULTS' && Array.isArray(error.cause)
  return several ? (error.cause as unknown[]) : [error]
}

function severalFaults(faults: readonly unknown[]): TidegateError {
  const lines = faults.map((fault) =>
    fault instanceof TidegateError
      ? `  ${fault.code}: ${fault.message}\n    hint: ${fault.hint}`
      : `  ${messageOf(fault)}`,
  )
  return new TidegateError('START_FAULTS', {
    message: `${faults.length} things are in the way of a start:\n${lines.join('\n')}`,
    retryable: faults.every((fault) => fault instanceof TidegateError && fault.retryable),
    hint: 'each line says what to do; --check looks at everything without starting',
    cause: faults,
  })
}
