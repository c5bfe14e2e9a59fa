import { isDeepStrictEqual } from 'node:util'
import type { Clock, Random } from '../../src/clock.ts'
import { cloudLedger, deedType } from '../../src/contract/event.ts'
import { TidegateError } from '../../src/errors.ts'
import type { Storage, Transaction } from '../database/storage.ts'
import type { Deed } from './deeds.ts'
import { ownLedgerIn } from './own-ledger-postgres.ts'

export interface DeedParts {
  storage: Storage
  clock: Clock
  random: Random
  signal: AbortSignal
}

const insertSql = `
insert into tidegate.deeds (deed, actor, roles, verb, reason, request) values ($1, $2, $3, $4, $5, $6)
on conflict do nothing returning deed`

const earlierSql = `
select actor, verb, reason, request::text as request, outcome::text as outcome from tidegate.deeds where deed = $1`

export interface EarlierDeed {
  actor: string
  verb: string
  reason: string
  /** JSON. */
  request: string
  outcome: string
}

/**
 * Does a deed once: its row, what it does to tables, and its event in the cloud's own ledger are one transaction (G4, G8). A rival with
 * the same key waits for it, and has its answer. What fails has left nothing, and its key is free.
 * @throws TidegateError `DEED_INVALID`, `IDEMPOTENCY_KEY_REUSED`, and whatever the work throws.
 */
export async function doOnce<Request, Outcome>(
  verb: string,
  deed: Deed<Request>,
  parts: DeedParts,
  work: (tx: Transaction) => Promise<Outcome>,
): Promise<Outcome> {
  refuseInvalid(deed)
  const { key, by, reason, request } = deed
  return parts.storage.transaction(async (tx) => {
    const asked = [key, by.actor, by.roles, verb, reason, JSON.stringify(request)]
    const { rowCount } = await tx.query(insertSql, asked)
    if (rowCount === 0) return (await earlier(verb, deed, tx)) as Outcome
    const outcome = await work(tx)
    // Last, for all deeds wait for the ledger's end.
    await appendDeed(tx, parts, verb, deed, outcome, key)
    await tx.query('update tidegate.deeds set outcome = $2 where deed = $1', [key, JSON.stringify(outcome)])
    return outcome
  }, parts.signal)
}

/** The event of a deed in the cloud's own ledger. */
export async function appendDeed(
  tx: Transaction,
  { clock, random }: DeedParts,
  verb: string,
  { key, by, reason, request }: Deed<unknown>,
  outcome: unknown,
  id: string,
): Promise<void> {
  const nowMs = clock.now()
  await ownLedgerIn(tx, random).append(nowMs, [
    {
      id,
      source: `/gateways/${cloudLedger}`,
      partitionkey: cloudLedger,
      type: deedType,
      time: new Date(nowMs).toISOString(),
      data: { deed: key, verb, actor: by.actor, roles: by.roles, reason, request, outcome },
    },
  ])
}

async function earlier<Request>(verb: string, deed: Deed<Request>, tx: Transaction): Promise<unknown> {
  const row = await earlierDeed(deed.key, tx)
  const isSame =
    row?.verb === verb &&
    row.actor === deed.by.actor &&
    row.reason === deed.reason &&
    isDeepStrictEqual(JSON.parse(row.request), JSON.parse(JSON.stringify(deed.request)))
  if (row && isSame) return JSON.parse(row.outcome)
  throw keyReused(deed.key)
}

/** What was done under a key, for whoever tells in another way whether it is the same; undefined: nothing was. */
export async function earlierDeed(key: string, tx: Transaction): Promise<EarlierDeed | undefined> {
  const { rows } = await tx.query<EarlierDeed>(earlierSql, [key])
  return rows[0]
}

export function keyReused(key: string): TidegateError {
  return new TidegateError('IDEMPOTENCY_KEY_REUSED', {
    message: `${key} is the key of another deed`,
    retryable: false,
    hint: 'each deed has a key of its own; the same key says that it is the same deed, asked for again',
  })
}

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const reasonLengthMax = 1_000
const actorLengthMax = 200

function refuseInvalid({ key, by, reason }: Deed<unknown>): void {
  if (!uuid.test(key)) throw deedInvalid('its key is no UUID (lower case)')
  if (!isLine(reason, reasonLengthMax))
    throw deedInvalid(`its reason must be 1 to ${reasonLengthMax} characters`)
  if (!isLine(by.actor, actorLengthMax)) throw deedInvalid('nobody is named who asks for it')
}

/** Something a person can read, and PostgreSQL can keep. */
function isLine(text: string, lengthMax: number): boolean {
  return text.trim() !== '' && text.length <= lengthMax && !text.includes('\0') && text.isWellFormed()
}

export function deedInvalid(message: string): TidegateError {
  return new TidegateError('DEED_INVALID', {
    message: `this deed cannot be put on record: ${message}`,
    retryable: false,
    hint: 'see docs/FAILURES.md, Deeds, for what each needs',
  })
}
