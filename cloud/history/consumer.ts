import { z } from 'zod'
import { TidegateError } from '../../src/errors.ts'
import { checkpointType, readCheckpoint } from '../../src/contract/checkpoint.ts'
import { claimedChain } from '../../src/contract/codec.ts'
import { type Event, ledgerType, rejectedType } from '../../src/contract/event.ts'
import type { Statements } from '../database/statements.ts'
import type { HandlerLog } from '../pipeline/handlers/handler-log.ts'
import { type BatchEntry, type Consumer, makeConsumer } from '../pipeline/definition.ts'
import { recordOf } from './record.ts'
import { readLedgerEntry } from './ledger-entry.ts'
import type { History, LedgerNote, RepeatReason } from './history.ts'

/**
 * The event store: every event once, for ever, under its ledger place, with the wire text verbatim (G2, G8). Its own
 * unique keys are its inbox. Faulty events are recorded too, with a disposition and the reason, so that their sequence is
 * accounted for; that row is where an operator finds them, and nothing of it waits for a queue (G5, G7). It parks no device: its order is
 * that of the ledger, which no event that comes later can change, and what would wait behind another would be missing meanwhile (G2).
 */
export function historyConsumer(historyIn: (transaction: Statements) => History): Consumer {
  return makeConsumer(
    {
      group: 'history',
      types: ['#', 'dev.tidegate.#'],
      onFailure: 'overtake',
      dedup: 'own',
      recordsFaults: true,
      inspect,
    },
    { kind: 'batch', handleBatch: (entries, { tx, log }) => keep(entries, historyIn(tx), log) },
  )
}

async function keep(entries: readonly BatchEntry[], history: History, log: HandlerLog): Promise<void> {
  const appended = await history.append(entries.map(recordOf))
  const accounts: Event[] = []
  const repeats: LedgerNote[] = []
  const rivals: Event[] = []
  appended.forEach((what, index) => {
    const { event, text } = entries[index] as BatchEntry
    // One delivered again may be an entry that an earlier version stored and could not read, published again out of history.
    if (what === 'stored' || what === 'again') accounts.push(event)
    else if (what === 'repeat') repeats.push(repeatNote(event, text, 'duplicate'))
    else if (what === 'rival') {
      repeats.push(repeatNote(event, text, 'rival'))
      rivals.push(event)
    } else if (what === 'place-taken') throw placeTaken(event)
  })
  await history.note(repeats)
  tellRivals(rivals, log)
  await keepAccount(history, accounts)
}

/** What was quarantined at the edge, and ledger entries we cannot read. */
function inspect(event: Event): TidegateError | undefined {
  if (event.type === rejectedType) {
    const { reason, detail } = z
      .object({ reason: z.string().catch('unknown'), detail: z.string().catch('') })
      .catch({ reason: 'unknown', detail: '' })
      .parse(event.data)
    return new TidegateError('REJECTED_AT_EDGE', {
      message: `${reason}: ${detail}`,
      retryable: false,
      hint: 'correct the device; the payload is in the event, base64',
    })
  }
  const isUnreadable =
    (event.type === ledgerType && readLedgerEntry(event.data) === undefined) ||
    (event.type === checkpointType && readCheckpoint(event.data) === undefined)
  if (isUnreadable) {
    return new TidegateError('LEDGER_UNREADABLE', {
      message: 'the ledger entry has a form this version does not know',
      retryable: false,
      hint: 'update the cloud before the edge, then publish the entry again out of history: docs/OPERATIONS.md, What history has set aside',
    })
  }
  return undefined
}

/** One line for all of them: a device that begins its IDs anew makes many. */
function tellRivals(rivals: readonly Event[], log: HandlerLog): void {
  const [first] = rivals
  if (first === undefined) return
  const { source, id, gateway, epoch, sequence } = first
  log.warn(
    { code: 'IDENTITY_TAKEN', events: rivals.length, source, id, gateway, epoch, sequence },
    'another reading is stored under the same source and ID: this one is in tidegate.ledger_notes, reason rival',
  )
}

function repeatNote(event: Event, text: string, reason: RepeatReason): LedgerNote {
  return {
    gateway: event.gateway,
    epoch: event.epoch,
    from: event.sequence,
    to: event.sequence,
    reason,
    chain: claimedChain(text),
    eventEpoch: event.epoch,
    eventSequence: event.sequence,
    body: text,
  }
}

/** Idempotent: the same entry twice is one. */
async function keepAccount(history: History, events: readonly Event[]): Promise<void> {
  for (const { gateway, epoch: eventEpoch, type, sequence: eventSequence, data } of events) {
    if (type !== ledgerType) continue
    const entry = readLedgerEntry(data)
    if (entry === undefined) continue
    const { epoch } = entry
    const about = { gateway, epoch, eventSequence }
    switch (entry.kind) {
      case 'undelivered':
        await history.note(
          entry.ranges.map(({ from, to, reason, chain }) => ({
            ...about,
            eventEpoch,
            from,
            to,
            reason,
            chain,
          })),
        )
        break
      case 'clock-corrected':
        await history.correctClock([{ ...about, from: entry.from, to: entry.to, offsetMs: entry.offsetMs }])
        break
      case 'epoch-closed':
        await history.closeEpochs([{ ...about, lastSequence: entry.lastSequence, reason: entry.reason }])
        break
    }
  }
}

function placeTaken(event: Event): TidegateError {
  return new TidegateError('LEDGER_PLACE_TAKEN', {
    message: `another event is stored under ${event.gateway}/${event.epoch}/${event.sequence}`,
    retryable: false,
    hint: 'two gateways run from a copy of one outbox: give one of them a new data folder',
  })
}
