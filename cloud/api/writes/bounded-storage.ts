import type { Clock } from '../../../src/clock.ts'
import type { Storage } from '../../database/storage.ts'
import { createGate } from '../rules/gate.ts'
import { Refusal, tookTooLong, translatedTimeout } from '../rules/problem.ts'

export interface BoundedOptions {
  /** Transactions at a time; as many connections it should have. */
  underWayMax: number
  /** Those that wait for one; who comes beyond is refused. */
  waitingMax: number
  /** Of a whole transaction, ms. Absent: that of each statement is bound enough. */
  transactionMsMax?: number
}

/**
 * A storage that people may use beside the pipeline (G7): so many at a time, whoever comes beyond is told to come back, and nothing is as
 * long as it likes. Transactions throw Refusal `API_BUSY`, `TOOK_TOO_LONG`.
 */
export function boundedStorage(
  storage: Storage,
  clock: Pick<Clock, 'after'>,
  { underWayMax, waitingMax, transactionMsMax }: BoundedOptions,
): Storage {
  const gate = createGate({ underWayMax, waitingMax, full: busy })
  return {
    transaction: (work, signal) =>
      gate.pass('', async () => {
        const late = new AbortController()
        const timer =
          transactionMsMax === undefined ? undefined : clock.after(transactionMsMax, () => late.abort())
        try {
          return await storage.transaction(work, AbortSignal.any([signal, late.signal]))
        } catch (error) {
          if (late.signal.aborted && !signal.aborted) throw tookTooLong()
          throw translatedTimeout(error)
        } finally {
          timer?.cancel()
        }
      }),
    probe: () => storage.probe(),
    close: () => storage.close(),
  }
}

function busy(): Refusal {
  return new Refusal({
    code: 'API_BUSY',
    status: 503,
    message: 'as much as this cloud does for people at a time is under way already',
    hint: 'ask again, with the same Idempotency-Key: it is done once',
    retryable: true,
    headers: { 'retry-after': '2' },
  })
}
