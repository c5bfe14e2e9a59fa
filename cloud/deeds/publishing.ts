import type { Clock } from '../../src/clock.ts'
import { decodeEvent } from '../../src/contract/codec.ts'
import { cloudLedger } from '../../src/contract/event.ts'
import { headers as names, partitionOf, routingKey, wire } from '../../src/contract/wire.ts'
import { codeOf, messageOf } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { Letter } from '../amqp/delivery.ts'
import type { Storage } from '../database/storage.ts'
import type { Outbound } from '../replays/outbound.ts'

export interface PublishingOptions {
  storage: Storage
  outbound: Pick<Outbound, 'send'>
  partitions: number
  clock: Clock
  log: Logger
  /** How often it looks for events to publish, ms. */
  lookEveryMs?: number
}

// Whoever holds it is the one who publishes: whatever comes twice all the same is a repeat to every group.
const nextSql = `
select u.epoch, u.sequence::float8 as sequence, e.body::text as body
from tidegate.unpublished as u
join tidegate.events as e on e.gateway = '${cloudLedger}' and e.epoch = u.epoch and e.sequence = u.sequence
order by u.epoch, u.sequence limit 1 for update of u skip locked`

const doneSql = `delete from tidegate.unpublished where epoch = $1 and sequence = $2`

const failedWaitMs = 5_000

/**
 * Publishes the events of the cloud's own ledger that are for all groups (G5): what an admitted reading has become. They are on record
 * before; a crash between the proof and the note of it publishes one twice, which every group takes for a repeat.
 */
export function startPublishing(options: PublishingOptions): { close(): Promise<void> } {
  const { storage, outbound, partitions, clock, log, lookEveryMs = 1_000 } = options
  const stopping = new AbortController()
  const { signal } = stopping

  /** False: there is none that nobody else has in hand. */
  function publishNext(): Promise<boolean> {
    return storage.transaction(async (tx) => {
      const { rows } = await tx.query<{ epoch: string; sequence: number; body: string }>(nextSql)
      const [row] = rows
      if (row === undefined) return false
      const { epoch, sequence, body } = row
      const event = decodeEvent(body)
      const key = routingKey(partitionOf(event.partitionkey, partitions), event.type)
      await outbound.send({ kind: 'events', routingKey: key }, messageOfEvent(event.id, body))
      await tx.query(doneSql, [epoch, sequence])
      log.info({ epoch, sequence, id: event.id, type: event.type }, 'published an admitted reading')
      return true
    }, signal)
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      try {
        if (!(await publishNext())) await clock.sleep(lookEveryMs, signal)
      } catch (error) {
        if (signal.aborted) return
        log.warn({ code: codeOf(error) }, `an admitted reading waits to be published: ${messageOf(error)}`)
        await clock.sleep(failedWaitMs, signal).catch(() => {})
      }
    }
  }

  const running = run()
  return {
    close() {
      stopping.abort()
      return running
    },
  }
}

function messageOfEvent(id: string, body: string): Letter {
  return {
    body: Buffer.from(body),
    properties: { messageId: id, appId: cloudLedger, contentType: wire.contentType },
    headers: { [names.attempt]: 1 },
    barer: [],
  }
}
