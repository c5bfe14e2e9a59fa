import { createHash } from 'node:crypto'
import type { Outbox, Queued, Submission } from '../../../edge/outbox/outbox.ts'
import { type LedgerEntry, ledgerType } from '../../../src/contract/event.ts'
import { candidate } from './outbox-events.ts'

interface Place {
  epoch: string
  sequence: number
}

/**
 * The books of a test that breaks an outbox: what it accepted, what it let go of, what it said is lost. Whatever
 * it says that contradicts what it said before is thrown at once.
 */
export class OutboxAccount {
  /** Who was given each place in the ledger. */
  private readonly owners = new Map<string, string>()
  private readonly places = new Map<string, Place>()
  private readonly data = new Map<string, string>()
  private readonly lost: { epoch: string; from: number; to: number }[] = []
  readonly delivered = new Set<string>()

  async append(outbox: Outbox, ids: string[], more: Partial<Submission> = {}): Promise<void> {
    await Promise.all(
      ids.map(async (id, index) => {
        // Incompressible and about as long as a reading: LevelDB then keeps its blocks as they are.
        const noise = createHash('sha512').update(id).digest('base64')
        const submitted = { ...candidate(`device-${index % 5}`, id, { noise }) }
        const admission = await outbox.append({ candidate: submitted, lane: 'normal', qos: 1, ...more })
        if (admission.kind !== 'accepted') throw new Error(`${id} was not accepted but ${admission.kind}`)
        this.own({ epoch: outbox.stats().epoch, sequence: admission.sequence }, id)
        this.data.set(id, noise)
      }),
    )
  }

  /** Takes and releases until nothing comes any more. */
  async drain(outbox: Outbox): Promise<void> {
    for (;;) {
      const events = await outbox.take(500)
      if (events.length === 0) return
      this.deliver(events)
      await outbox.release(events)
    }
  }

  deliver(events: readonly Queued[]): void {
    for (const event of events) {
      const parsed = JSON.parse(event.text) as Place & { id: string; data: LedgerEntry & { noise?: string } }
      if (event.type === ledgerType) {
        this.own(parsed, event.id)
        if (parsed.data.kind === 'undelivered') {
          for (const { from, to, reason } of parsed.data.ranges) {
            if (reason === 'lost') this.lost.push({ epoch: parsed.data.epoch, from, to })
          }
        }
        continue
      }
      if (parsed.id !== event.id || parsed.data.noise !== this.data.get(event.id))
        throw new Error(`${event.id} was delivered altered: ${event.text}`)
      this.own(parsed, event.id)
      this.delivered.add(event.id)
    }
  }

  /** Accepted, and neither delivered nor reported lost. */
  unaccounted(): string[] {
    return [...this.places]
      .filter(([id, place]) => !this.delivered.has(id) && !this.saidLost(place))
      .map(([id]) => id)
  }

  /** Accepted and not delivered. */
  undelivered(): string[] {
    return [...this.places.keys()].filter((id) => !this.delivered.has(id))
  }

  copy(): OutboxAccount {
    const copy = new OutboxAccount()
    for (const [key, id] of this.owners) copy.owners.set(key, id)
    for (const [id, place] of this.places) copy.places.set(id, place)
    for (const [id, noise] of this.data) copy.data.set(id, noise)
    for (const id of this.delivered) copy.delivered.add(id)
    copy.lost.push(...this.lost)
    return copy
  }

  private saidLost({ epoch, sequence }: Place): boolean {
    return this.lost.some((range) => range.epoch === epoch && range.from <= sequence && sequence <= range.to)
  }

  private own({ epoch, sequence }: Place, id: string): void {
    const key = `${epoch}/${sequence}`
    const owner = this.owners.get(key)
    if (owner !== undefined && owner !== id) throw new Error(`${key} was given to ${owner} and then to ${id}`)
    this.owners.set(key, id)
    if (this.data.has(id) || !id.includes('-')) this.places.set(id, { epoch, sequence })
  }
}
