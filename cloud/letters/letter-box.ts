import type { Clock } from '../../src/clock.ts'
import type { Logger } from '../../src/log.ts'
import type { AmqpConnection } from '../amqp/connection-rabbit.ts'
import type { Database } from '../database/database-postgres.ts'
import type { LetterBox } from './dead-letters.ts'
import { postgresDeadLetters } from './dead-letters-postgres.ts'
import { type MirrorResult, rabbitMirror } from './mirror-rabbit.ts'
import { type LetterBounds, type ReplaysUnderWay, type Standing, startLetterBook } from './upkeep.ts'
import { postgresUpkeep } from './upkeep-postgres.ts'

export interface LetterBoxSettings extends LetterBounds {
  closedRetentionMs: number
  /** Whether other tools are to see the newest letters in RabbitMQ. */
  mirror: boolean
}

export interface LetterBoxOptions extends LetterBoxSettings {
  database: Database
  connection: AmqpConnection
  onMirrored: (group: string, result: MirrorResult) => void
  clock: Clock
  log: Logger
}

export interface OpenLetterBox extends LetterBox {
  /** How the letters of each group stand, some seconds old. */
  standing(): readonly Standing[]
  /** How replays are, some seconds old. */
  replays(): ReplaysUnderWay
  close(): Promise<void>
}

/** The dead letters of all groups: rows of PostgreSQL, and their mirror in RabbitMQ. */
export function openLetterBox(options: LetterBoxOptions): OpenLetterBox {
  const { database, connection, clock, onMirrored } = options
  const book = startLetterBook({ ...options, upkeep: postgresUpkeep(database, clock) })
  const mirror = options.mirror ? rabbitMirror({ connection, clock, onResult: onMirrored }) : undefined
  return {
    lettersIn: postgresDeadLetters,
    full: (group) => book.full(group),
    mirror: (group, letter) => mirror?.copy(group, letter),
    standing: () => book.standing(),
    replays: () => book.replays(),
    async close() {
      await Promise.all([book.close(), mirror?.close()])
    },
  }
}
