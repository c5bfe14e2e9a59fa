import { hash } from 'node:crypto'
import { batchLimits } from '../../src/contract/batch.ts'
import { OpenBatch } from './batch.ts'
import { bytesInHandMax, overheadBytes } from './in-hand.ts'

/** As many as can be in our hands at a time: those of so many bytes, and of one batch more (G7). */
const eventsMax = Math.ceil(bytesInHandMax / overheadBytes) + batchLimits.events

export interface BatchInHand {
  batch: OpenBatch
  /** As it came. */
  body: Buffer
}

/**
 * Remembers, from one lease of a queue to the next, what is settled of batches that RabbitMQ has taken back: it delivers them again whole,
 * and what is a letter by then would be tried again from its first attempt, and be a letter twice (G5). So a batch gets done, however
 * often it is taken back. Batches are known by their bytes; whoever else is delivered one, another instance or this one after a restart,
 * begins it anew.
 */
export class KeptBatches {
  /** By the digest of their bytes, the one that was kept last at the end. */
  readonly #batches = new Map<string, OpenBatch>()
  readonly #digests = new WeakMap<OpenBatch, string>()

  /** The batch that was delivered, as far as it had got. */
  open(body: Buffer, events: number, redelivered: boolean): OpenBatch {
    // Nothing is digested that cannot be known.
    const known = redelivered && this.#batches.size > 0 && this.#batches.get(digestOf(body))
    return known || new OpenBatch(events)
  }

  /** They are not acknowledged, and no longer in our hands. */
  keep(batches: Iterable<BatchInHand>): void {
    for (const { body, batch } of batches) {
      const digest = this.#digests.get(batch) ?? digestOf(body)
      this.#digests.set(batch, digest)
      batch.rest()
      // Of two that are the same the first is kept: its events are in front.
      const kept = this.#batches.get(digest) ?? batch
      this.#batches.delete(digest)
      this.#batches.set(digest, kept)
    }
    let events = [...this.#batches.values()].reduce((sum, { size }) => sum + size, 0)
    for (const [digest, { size }] of this.#batches) {
      if (events <= eventsMax) break
      this.#batches.delete(digest)
      events -= size
    }
  }

  /** It is acknowledged, and does not come again. */
  forget(batch: OpenBatch): void {
    const digest = this.#digests.get(batch)
    if (digest !== undefined) this.#batches.delete(digest)
  }
}

function digestOf(body: Buffer): string {
  return hash('sha256', body, 'base64url')
}
