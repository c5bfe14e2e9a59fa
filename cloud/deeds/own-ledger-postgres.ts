import { ulid } from 'ulid'
import type { Random } from '../../src/clock.ts'
import { encodeEvent, genesis } from '../../src/contract/codec.ts'
import { type Candidate, cloudLedger, type Event } from '../../src/contract/event.ts'
import { TidegateError } from '../../src/errors.ts'
import type { Statements } from '../database/statements.ts'
import { postgresHistory } from '../history/history-postgres.ts'
import { recordOf } from '../history/record.ts'

/** What the cloud puts into its ledger. */
export type OwnCandidate = Omit<Candidate, 'specversion' | 'datacontenttype'>

/**
 * The ledger that the cloud itself writes, hash-chained as a gateway's, in the transaction of what it tells of (G8). Its end is one
 * row, whose lock is held to the end of the transaction: the sequence has no gaps, and what is rolled back has left none.
 */
export interface OwnLedger {
  /** Answers the events with their places. @throws TidegateError `IDENTITY_TAKEN`: another event has that source and ID. */
  append(nowMs: number, candidates: readonly OwnCandidate[]): Promise<{ event: Event; text: string }[]>
}

const beginSql = `
insert into tidegate.own_ledger (epoch, sequence, chain) values ($1, 0, $2) on conflict do nothing`
const endSql = `select epoch, sequence::float8, chain from tidegate.own_ledger for update`
const moveSql = `update tidegate.own_ledger set sequence = $1, chain = $2`

export function ownLedgerIn(statements: Statements, random: Random): OwnLedger {
  async function end(nowMs: number): Promise<[epoch: string, sequence: number, chain: string]> {
    const read = (): Promise<[string, number, string][]> => statements.run('own-ledger-end', endSql, [])
    const [found] = await read()
    if (found) return found
    const epoch = ulid(Math.max(0, nowMs), random)
    await statements.run('own-ledger-begin', beginSql, [epoch, genesis(cloudLedger, epoch)])
    const [begun] = await read()
    if (!begun) throw new Error('the row of the own ledger is not there')
    return begun
  }

  return {
    async append(nowMs, candidates) {
      const [epoch, last, lastChain] = await end(nowMs)
      let chain = lastChain
      const written = candidates.map((candidate, index) => {
        const sequence = last + 1 + index
        const recordedtime = new Date(nowMs).toISOString()
        const { data, ...attributes } = candidate
        const placed: Omit<Event, 'chain'> = {
          specversion: '1.0',
          ...attributes,
          datacontenttype: 'application/json',
          gateway: cloudLedger,
          epoch,
          sequence,
          recordedtime,
          data,
        }
        const encoded = encodeEvent(placed, chain)
        chain = encoded.chain
        return { event: { ...placed, chain }, text: encoded.text }
      })
      const appended = await postgresHistory(statements).append(written.map(recordOf))
      const taken = appended.findIndex((what) => what !== 'stored')
      if (taken >= 0) throw identityTaken(written[taken]?.event as Event)
      await statements.run('own-ledger-move', moveSql, [last + written.length, chain])
      return written
    },
  }
}

function identityTaken({ source, id }: Event): TidegateError {
  return new TidegateError('IDENTITY_TAKEN', {
    message: `an event of ${source} with the ID ${id} is in history`,
    retryable: false,
    hint: 'look at that one: the device may have sent the reading again since',
  })
}
