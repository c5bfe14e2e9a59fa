import { TidegateError } from '../../../src/errors.ts'
import { mergeRollup, rollupKey, type Rollups } from './rollups.ts'
import type { Statements } from '../../../cloud/database/statements.ts'
import {
  type Claim,
  claimKey,
  type EventIdentity,
  type Inbox,
  type QueryResult,
  type Transaction,
} from '../../../cloud/database/storage.ts'
import type { Added, DeadLetter, DeadLetters } from '../../../cloud/letters/dead-letters.ts'
import { saysTheSame } from '../../../cloud/history/record.ts'
import type { Appended, History, HistoryRecord, LedgerPlace } from '../../../cloud/history/history.ts'
import type { Effect, Lock, Tables } from './tables.ts'
import type { SimulatedProcess } from './process.ts'

/** As PostgreSQL's adapter gives a statement up. */
const lockWaitMsMax = 30_000

/** Reads what was committed and what it did itself; what it does takes effect when it is committed. */
export class SimulatedTransaction implements Transaction {
  readonly inbox: Inbox
  readonly history: History
  readonly rollups: Rollups
  readonly letters: DeadLetters
  readonly process: SimulatedProcess
  readonly staged: (() => void)[] = []
  readonly what: string[] = []
  over = false
  askedAtMs: number
  /** When it was wanted, before there was a connection for it. */
  readonly beganAtMs: number
  outage: TidegateError | undefined
  readonly database: Tables
  private readonly own = new Map<string, string>()
  /** Of its own events, by place. */
  private readonly bodies = new Map<string, string>()

  constructor(database: Tables, process: SimulatedProcess, beganAtMs: number) {
    this.database = database
    this.process = process
    this.beganAtMs = beganAtMs
    this.askedAtMs = database.parts.scheduler.nowMs
    this.inbox = {
      claim: (group, claims) => this.claim(group, claims),
      release: (group, claims) => this.release(group, claims),
    }
    this.history = {
      append: (records) => this.append(records),
      note: (notes) =>
        this.keep(database.notes, notes, (n) => `${n.gateway}\n${n.epoch}\n${n.from}\n${n.to}\n${n.reason}`),
      correctClock: (corrections) =>
        this.keep(database.corrections, corrections, (c) => `${c.gateway}\n${c.epoch}\n${c.eventSequence}`),
      closeEpochs: (closures) =>
        this.keep(database.closures, closures, (c) => `${c.gateway}\n${c.epoch}\n${c.lastSequence}`),
    }
    this.letters = {
      add: (letters) => this.addLetters(letters),
      failedAgain: (letters) => this.failedAgain(letters),
    }
    this.rollups = {
      merge: async (rollups) => {
        await this.request('merge')
        this.staged.push(() => {
          for (const rollup of rollups) {
            const known = database.rollups.get(rollupKey(rollup))
            if (known) mergeRollup(known, rollup)
            else database.rollups.set(rollupKey(rollup), { ...rollup })
          }
        })
      },
    }
  }

  /** The one statement that the simulated handler makes; it may want to know since when the transaction is under way. */
  async query<Row>(_sql: string, params: readonly unknown[] = []): Promise<QueryResult<Row>> {
    await this.request('query')
    const [effect, mayHandle] = params as [Effect, ((beganAtMs: number) => Promise<void>) | undefined]
    await mayHandle?.(this.beganAtMs)
    this.what.push(`${effect.group} ${effect.sequence}`)
    this.staged.push(() => this.database.effects.push(effect))
    return { rows: [], rowCount: 1 }
  }

  async run(name: string): Promise<never> {
    throw new Error(`${name}: nothing here reads SQL; see simulatedHistory and simulatedRollups`)
  }

  assertUsable(): void {
    if (this.outage) throw this.outage
  }

  async request(what: string): Promise<void> {
    if (this.outage) throw this.outage
    try {
      await this.database.request(this.process, what)
    } catch (error) {
      throw (this.outage = error as TidegateError)
    }
    if (this.over) throw (this.outage = unreachable('terminating connection'))
    this.askedAtMs = this.database.parts.scheduler.nowMs
  }

  private async claim(group: string, claims: readonly Claim[]): Promise<boolean[]> {
    await this.request('claim')
    const { inbox } = this.database
    const keys = claims.map((claim) => `${group}\n${claimKey(claim)}`)
    for (const key of keys.toSorted()) await this.lock(`inbox ${key}`)
    return keys.map((key) => {
      if (inbox.has(key) || this.own.has(key)) return false
      this.own.set(key, '')
      this.staged.push(() => {
        if (this.own.has(key)) inbox.add(key)
      })
      return true
    })
  }

  /** Its rivals wait until the end of the transaction all the same. */
  private async release(group: string, claims: readonly Claim[]): Promise<void> {
    await this.request('release')
    for (const claim of claims) {
      const key = `${group}\n${claimKey(claim)}`
      this.own.delete(key)
      // What another transaction has claimed is given back when this is committed.
      if (this.database.inbox.has(key)) await this.lock(`inbox ${key}`)
      this.staged.push(() => {
        if (!this.own.has(key)) this.database.inbox.delete(key)
      })
    }
  }

  private async append(records: readonly HistoryRecord[]): Promise<Appended[]> {
    this.database.order.begin(this)
    await this.request('append')
    const { events, identities } = this.database
    const byPlace = records.toSorted((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1))
    for (const record of byPlace) {
      await this.lock(`place ${placeOf(record)}`)
      await this.lock(`identity ${identityOf(record)}`)
    }
    return records.map((record) => {
      const place = placeOf(record)
      const identity = identityOf(record)
      const known = identities.get(identity) ?? this.own.get(identity)
      if (known === place) return 'again'
      if (known !== undefined) {
        const body = events.get(known)?.body ?? this.bodies.get(known)
        return saysTheSame(body ?? '', record.body) ? 'repeat' : 'rival'
      }
      if (events.has(place) || this.own.has(place)) return 'place-taken'
      this.own.set(identity, place)
      this.own.set(place, identity)
      const row = this.database.order.number(this, place)
      this.bodies.set(place, record.body)
      this.what.push(`history ${record.sequence}`)
      this.staged.push(() => {
        events.set(place, record)
        this.database.order.landed(row, this.database.parts.scheduler.nowMs)
        identities.set(identity, place)
      })
      return 'stored'
    })
  }

  private async addLetters(letters: readonly DeadLetter[]): Promise<Added[]> {
    await this.request('letters')
    const again = letters.flatMap((letter) => (letter.sent ? { letter, replay: letter.sent.replay } : []))
    if (again.length > 0) await this.openAgain(again)
    const added = await this.addNew(letters.filter(({ sent }) => sent === undefined))
    return letters.map(({ sent }) =>
      sent ? { letter: sent.letter, isNew: false } : (added.shift() as Added),
    )
  }

  /** Letters whose replay has failed, those of them that are still replaying in it. */
  private async openAgain(failed: { letter: DeadLetter; replay: number }[]): Promise<void> {
    const { letters: there, standings, replayCounts } = this.database
    const ordered = failed.toSorted((a, b) => (a.letter.sent?.letter ?? 0) - (b.letter.sent?.letter ?? 0))
    for (const { letter } of ordered) await this.lock(`row ${letter.sent?.letter}`)
    this.staged.push(() => {
      for (const { letter, replay } of ordered) {
        const number = letter.sent?.letter ?? 0
        const [before, standing] = [there.get(number), standings.get(number)]
        if (before?.group !== letter.group || standing?.state !== 'replaying' || standing.replay !== replay)
          continue
        const { code, message, stack, attempts, failures, instance, lastFailedAt } = letter
        there.set(number, { ...before, code, message, stack, attempts, failures, instance, lastFailedAt })
        standing.state = 'open'
        replayCounts.push({ replay, resolved: 0, failed: 1 })
      }
    })
  }

  /** Of one key there is one letter in a group that is not closed: `dead_letters_key`. */
  private async addNew(letters: readonly DeadLetter[]): Promise<Added[]> {
    const { letters: there, standings } = this.database
    const names = letters.map((letter) => `letter ${letterName(letter)}`)
    for (const name of names.toSorted()) await this.lock(name)
    return letters.map((letter, index): Added => {
      const name = names[index] as string
      const same = [...there].find(
        ([number, other]) =>
          letterName(other) === letterName(letter) && standings.get(number)?.state !== 'resolved',
      )?.[0]
      const known = same ?? this.own.get(name)
      if (known !== undefined) return { letter: Number(known), isNew: false }
      const isClosed = [...there].some(
        ([number, other]) =>
          letterName(other) === letterName(letter) && standings.get(number)?.state === 'resolved',
      )
      if (letter.mayBeClosed && isClosed) return { letter: undefined, isNew: false }
      const number = this.database.nextLetter()
      this.own.set(name, String(number))
      this.what.push(`letter of ${letter.group} ${letter.id ?? ''}`)
      this.staged.push(() => {
        there.set(number, letter)
        standings.set(number, { state: 'open', replay: undefined })
      })
      return { letter: number, isNew: true }
    })
  }

  /** Those that are committed; their stories are not simulated. */
  private async failedAgain(letters: readonly DeadLetter[]): Promise<(number | undefined)[]> {
    await this.request('letters')
    const there = [...this.database.letters]
    return letters.map((one) => there.find(([, other]) => letterName(other) === letterName(one))?.[0])
  }

  private async keep<T>(table: Map<string, T>, rows: readonly T[], keyOf: (row: T) => string): Promise<void> {
    if (rows.length === 0) return
    await this.request('note')
    this.staged.push(() => {
      for (const row of rows) if (!table.has(keyOf(row))) table.set(keyOf(row), row)
    })
  }

  /** Nobody else holds it: `for update skip locked`. */
  isFree(key: string): boolean {
    const held = this.database.locks.get(key)
    return held === undefined || held.holder === this
  }

  /** Waits for whoever holds the key to commit or roll back. */
  async lock(key: string): Promise<void> {
    const { locks, parts } = this.database
    const untilMs = parts.scheduler.nowMs + lockWaitMsMax
    for (let held = locks.get(key); held && held.holder !== this; held = locks.get(key)) {
      const leftMs = untilMs - parts.scheduler.nowMs
      if (leftMs <= 0) throw (this.outage = unreachable('query read timeout'))
      await Promise.race([held.freed, this.process.step('lock', leftMs)])
      await this.process.step('locked', 0)
      this.askedAtMs = parts.scheduler.nowMs
      if (this.over) throw (this.outage = unreachable('connection terminated'))
    }
    if (locks.has(key)) return
    const lock: Lock = { holder: this, freed: Promise.resolve(), free: nothing }
    lock.freed = new Promise((resolve) => {
      lock.free = resolve
    })
    locks.set(key, lock)
  }
}

function nothing(): void {}

/** In place of `postgresHistory`. */
export function simulatedHistory(transaction: Statements): History {
  return simulatedOf(transaction).history
}

/** In place of `postgresRollups`. */
export function simulatedRollups(transaction: Statements): Rollups {
  return simulatedOf(transaction).rollups
}

/** In place of `postgresDeadLetters`. */
export function simulatedDeadLetters(transaction: Statements): DeadLetters {
  return simulatedOf(transaction).letters
}

function letterName({ group, key }: DeadLetter): string {
  return `${group} ${key.toString('hex')}`
}

export function simulatedOf(transaction: Statements): SimulatedTransaction {
  if (transaction instanceof SimulatedTransaction) return transaction
  throw new Error('not a transaction of the simulated database')
}

export function placeOf({ gateway, epoch, sequence }: LedgerPlace): string {
  return `${gateway}\n${epoch}\n${String(sequence).padStart(12, '0')}`
}

function identityOf({ source, id }: EventIdentity): string {
  return `${source}\n${id}`
}

export function unreachable(detail: string): TidegateError {
  return new TidegateError('DATABASE_UNREACHABLE', { message: detail, retryable: true, hint: '' })
}
