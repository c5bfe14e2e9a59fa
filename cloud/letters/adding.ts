import { messageOf, TidegateError } from '../../src/errors.ts'
import type { Statements } from '../database/statements.ts'
import type { Storage, Transaction } from '../database/storage.ts'
import { type Added, barest, type DeadLetter, type DeadLetters } from './dead-letters.ts'

export interface AddingOptions {
  storage: Storage
  lettersIn: (transaction: Statements) => DeadLetters
  /** Aborted: what is under way is cut off. */
  cutOff: AbortSignal
}

/**
 * Adds letters in one transaction. If there is one among them that the database does not take, it alone is added with nothing but
 * what is ours of it, and its body (G5).
 * @throws TidegateError `DATABASE_*`, an outage: the same letters may be added again.
 */
export async function addLetters(letters: readonly DeadLetter[], options: AddingOptions): Promise<Added[]> {
  const { storage, lettersIn, cutOff } = options
  const add = (some: readonly DeadLetter[]): Promise<Added[]> =>
    storage.transaction((tx) => lettersIn(tx).add(some), cutOff)
  try {
    return await add(letters)
  } catch (error) {
    if (cutOff.aborted || error instanceof TidegateError) throw error
  }
  if (letters.length > 1) {
    const half = letters.length >> 1
    const first = await addLetters(letters.slice(0, half), options)
    return [...first, ...(await addLetters(letters.slice(half), options))]
  }
  return orNotTaken(() => add(letters.map(barest)), cutOff)
}

/**
 * Adds letters, as `addLetters` does, if what goes before them in their transaction answers that they may be added. Else nothing is
 * committed with it, and the answer is undefined. Of several that the database does not take all are added with what is ours alone.
 * @throws TidegateError `DATABASE_*`, an outage: all of it may be done again.
 */
export async function addWithin(
  letters: readonly DeadLetter[],
  before: (tx: Transaction) => Promise<boolean>,
  { storage, lettersIn, cutOff }: AddingOptions,
): Promise<Added[] | undefined> {
  const add = (some: readonly DeadLetter[]): Promise<Added[] | undefined> =>
    storage.transaction(async (tx) => ((await before(tx)) ? lettersIn(tx).add(some) : undefined), cutOff)
  try {
    return await add(letters)
  } catch (error) {
    if (cutOff.aborted || error instanceof TidegateError) throw error
  }
  return orNotTaken(() => add(letters.map(barest)), cutOff)
}

async function orNotTaken<T>(work: () => Promise<T>, cutOff: AbortSignal): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw cutOff.aborted || error instanceof TidegateError ? error : notTaken(error)
  }
}

function notTaken(cause: unknown): TidegateError {
  return new TidegateError('DATABASE_FAULT', {
    message: `the database does not take a dead letter: ${messageOf(cause)}`,
    retryable: true,
    hint: 'see the log of PostgreSQL, and who changes the schema tidegate',
    cause,
  })
}
