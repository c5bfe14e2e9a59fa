import type { Clock, Random } from '../../src/clock.ts'
import type { Logger } from '../../src/log.ts'
import type { AmqpConnection } from '../amqp/connection-rabbit.ts'
import type { Database } from '../database/database-postgres.ts'
import type { Storage } from '../database/storage.ts'
import type { LetterBox } from '../letters/dead-letters.ts'
import { startFormerLetters } from '../letters/former-letters.ts'
import { postgresUpgradeRegister } from '../queues/former-postgres.ts'
import { rabbitFormerLine } from '../queues/former-rabbit.ts'
import { postgresRetiredRegister } from './retired-postgres.ts'
import { rabbitRetiredQueues, type RabbitRetiredQueuesOptions } from './retired-rabbit.ts'
import { type RetiringGroup, startRetiring } from './retired.ts'

export interface RetireOptions extends RabbitRetiredQueuesOptions {
  consuming: AmqpConnection
  database: Database
  storage: Storage
  letters: LetterBox
  /** Most unacknowledged deliveries per queue (G7). */
  prefetch: number
  goneAfterMs: number
  dedupWindowMs: number
  clock: Clock
  random: Random
  log: Logger
}

/** Lets a group go that this version has not any more: its queues, and letters of former versions, which are moved into PostgreSQL. */
export function retireGroup(options: RetireOptions): RetiringGroup {
  const { group, database, goneAfterMs, clock } = options
  const register = postgresUpgradeRegister(database, group, goneAfterMs, clock)
  const retiring = startRetiring({
    ...options,
    queues: rabbitRetiredQueues(options),
    line: rabbitFormerLine({ ...options, ordered: true, isHeld: () => false }),
    register: postgresRetiredRegister(database, options),
    lock: () => register.lock(),
  })
  const parts = [retiring, startFormerLetters(options)]
  return {
    get waiting() {
      return retiring.waiting
    },
    async close() {
      await Promise.all(parts.map((part) => part.close()))
    },
  }
}
