import { type BackoffOptions, backoffMs } from '../../src/backoff.ts'
import type { Random } from '../../src/clock.ts'
import { codeOf, isAbort } from '../../src/errors.ts'
import type { Outbox } from '../outbox/outbox.ts'
import { Carrier, type CarrierOptions } from './carrier.ts'
import type { Exchange } from './exchange.ts'
import { Packing, type PackingOptions } from './packing.ts'

export interface ForwarderOptions extends Omit<CarrierOptions, 'packing'> {
  batch: PackingOptions
  outbox: Outbox
  exchange: Exchange
  random: Random
  /** Wait after a session that proved nothing. */
  retry: BackoffOptions
}

/**
 * Carries events from the outbox to the exchange, for as long as `signal` allows. An event is released only
 * after proof (G3). When a session ends, what it had not proven goes back and is taken again, oldest first:
 * sent twice at worst, never skipped; the cloud drops the repeat by `(source, id)` (G4).
 *
 *     down ──connect──▶ up ──lost, refused, or silent for confirmTimeoutMs──▶ down (rewind, wait)
 */
export async function forward(options: ForwarderOptions, signal: AbortSignal): Promise<void> {
  const { outbox, exchange, batch, clock, random, log, retry } = options
  const packing = new Packing(batch)
  let fruitless = 0
  try {
    for (;;) {
      const session = await exchange.connect(signal)
      log.info('the uplink is up')
      outbox.resumed()
      const { end, proven } = await new Carrier({ ...options, packing }, session, signal).run()
      outbox.rewind()
      await session.close()
      signal.throwIfAborted()
      fruitless = proven > 0 ? 0 : fruitless + 1
      const retryInMs = backoffMs(Math.max(1, fruitless), retry, random)
      log.warn({ code: end.code, detail: end.detail, retryInMs }, 'the uplink was lost')
      await clock.sleep(retryInMs, signal)
    }
  } catch (error) {
    // Closed: the gateway is stopping, and its store fails.
    if (!isAbort(error) && codeOf(error) !== 'OUTBOX_CLOSED') throw error
  } finally {
    await exchange.close()
  }
}
