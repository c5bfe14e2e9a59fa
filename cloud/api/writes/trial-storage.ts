import type { Storage } from '../../database/storage.ts'

/** Carries what the work answered out of a transaction that is rolled back. */
class Undone<T> extends Error {
  readonly result: T
  constructor(result: T) {
    super('rolled back, as it was to be')
    this.result = result
  }
}

/** A storage in which everything is done and nothing stays: what a dry run promises is what would be done, refusals included. */
export function trialStorage(storage: Storage): Storage {
  return {
    async transaction<T>(work: Parameters<Storage['transaction']>[0], signal: AbortSignal): Promise<T> {
      try {
        return await storage.transaction<T>(async (tx) => {
          throw new Undone(await work(tx))
        }, signal)
      } catch (error) {
        if (error instanceof Undone) return error.result as T
        throw error
      }
    },
    probe: () => storage.probe(),
    close: () => storage.close(),
  }
}
