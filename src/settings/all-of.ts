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

class StartFaults extends TidegateError {
  readonly faults: readonly unknown[]

  constructor(faults: readonly unknown[], text: string, retryable: boolean) {
    super('START_FAULTS', {
      message: text,
      retryable,
      hint: 'each line says what to do; --check looks at everything without starting',
    })
    this.faults = faults
  }
}

function faultsIn(error: unknown): readonly unknown[] {
  return error instanceof StartFaults ? error.faults : [error]
}

function severalFaults(faults: readonly unknown[]): StartFaults {
  const lines = faults.map((fault) =>
    fault instanceof TidegateError
      ? `  ${fault.code}: ${fault.message}\n    hint: ${fault.hint}`
      : `  ${messageOf(fault)}`,
  )
  const retryable = faults.every((fault) => fault instanceof TidegateError && fault.retryable)
  return new StartFaults(
    faults,
    `${faults.length} things are in the way of a start:\n${lines.join('\n')}`,
    retryable,
  )
}
