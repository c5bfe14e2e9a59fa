import { z } from 'zod'
import { claimedChain, genesis } from '../../src/contract/codec.ts'
import { cloudLedger, ledgerType } from '../../src/contract/event.ts'
import { schemasType } from '../../src/contract/schemas-used.ts'
import { type AuditFault, examineEvent, parseText } from '../audit/event.ts'
import { type TextColumns, textColumns } from '../history/record.ts'
import type { LedgerPlace } from '../history/history.ts'

/**
 * What an archive is (docs/DATABASE.md, "Archives"): a gzip file of lines, each the JSON of one row in the order of ledger places, with the
 * wire text verbatim as its last member; beside it a manifest that names the file, its SHA-256, and the ranges in it.
 */
export const archiveFormat = 'tidegate archive v1'

/** All that a row of history has beyond what its text says. */
export interface ArchivedRow extends LedgerPlace {
  era: number
  /** Both are 64 bit. */
  tx: string
  position: string
  /** RFC 3339, UTC, with microseconds. */
  stored: string
  disposition: 'accepted' | 'rejected' | 'dead'
  reason: string | null
  /** The wire text, verbatim. */
  text: string
}

const digits = z.string().regex(/^\d{1,20}$/)

const rowSchema = z.object({
  gateway: z.string(),
  epoch: z.string(),
  sequence: z.int().min(1),
  era: z.int(),
  tx: digits,
  position: digits,
  stored: z.string(),
  disposition: z.enum(['accepted', 'rejected', 'dead']),
  reason: z.string().nullable(),
  text: z.string(),
})

export function lineOf(row: ArchivedRow): string {
  const { gateway, epoch, sequence, era, tx, position, stored, disposition, reason, text } = row
  return `${JSON.stringify({ gateway, epoch, sequence, era, tx, position, stored, disposition, reason, text })}\n`
}

/** @throws SyntaxError or ZodError: it is no line of an archive. */
export function rowOf(line: string): ArchivedRow {
  return rowSchema.parse(JSON.parse(line))
}

const rangeSchema = z.object({
  gateway: z.string(),
  epoch: z.string(),
  from: z.int().min(1),
  to: z.int().min(1),
  /** The chain value of the place before `from`; null: no event was there. */
  before: z.string().nullable(),
  /** The chain value of `to`. */
  chain: z.string(),
})

/** Events of one ledger, each following the one before. */
export type ArchivedRange = z.infer<typeof rangeSchema>

/** What of an archive is not as it was written: it was so when it was archived, and its event stays in history. */
const faultySchema = z.object({
  gateway: z.string(),
  epoch: z.string(),
  sequence: z.int(),
  detail: z.string(),
})

export type Faulty = z.infer<typeof faultySchema>

/** Where more is not as it was written, a person has to look first. */
export const faultyMax = 1_000

export const manifestSchema = z.object({
  format: z.literal(archiveFormat),
  /** Letters, digits and underscores: it becomes a name in SQL. */
  partition: z.string().regex(/^events_\w{1,40}$/),
  /** RFC 3339; null: from whenever. */
  from: z.iso.datetime().nullable(),
  until: z.iso.datetime(),
  /** Beside the manifest. */
  file: z.string().regex(/^[\w.-]+$/),
  bytes: z.int(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  events: z.int(),
  ranges: z.array(rangeSchema),
  faulty: z.array(faultySchema).max(faultyMax),
})

export type Manifest = z.infer<typeof manifestSchema>

/** What gateways say that stays. */
const keptTypes: readonly string[] = [ledgerType, schemasType]

/** The same in SQL. */
export const keptTypesSql = keptTypes.map((type) => `'${type}'`).join(', ')

/**
 * What stays in history when its partition goes, for the rest of history rests on it: the cloud's own ledger, which says what was accepted
 * and what was retired, what gateways say of losses, and by which schemas they have judged.
 */
export function isKept({ gateway, text }: Pick<ArchivedRow, 'gateway' | 'text'>): boolean {
  return gateway === cloudLedger || keptTypes.includes(String(parseText(text)?.['type']))
}

/** The same in SQL, of `tidegate.events`. */
export const keptSql = `(gateway = '${cloudLedger}' or type in (${keptTypesSql}))`

/** A row, the chain value of the place before it, if that is known, and what of it is not as it was written. */
export interface Examined {
  row: ArchivedRow
  before: string | undefined
  fault: AuditFault | undefined
}

/** Ranges, of rows that come in the order of their places. */
export class Ranges {
  readonly list: ArchivedRange[] = []

  add({ row: { gateway, epoch, sequence, text }, before }: Examined): void {
    const chain = claimedChain(text) ?? ''
    const last = this.list.at(-1)
    if (last?.gateway === gateway && last.epoch === epoch && last.to === sequence - 1)
      Object.assign(last, { to: sequence, chain })
    else this.list.push({ gateway, epoch, from: sequence, to: sequence, before: before ?? null, chain })
  }
}

/** Names a place among others. */
export function placeKey({ gateway, epoch, sequence }: LedgerPlace): string {
  return `${gateway}\n${epoch}\n${sequence}`
}

/** Follows rows in the order of their places, and says what of them is not as it was written (G8). */
export class Chains {
  readonly #chainBefore: (place: LedgerPlace) => Promise<string | undefined>
  #last: (LedgerPlace & { chain: string | undefined }) | undefined

  /** `chainBefore`: the chain value of the place before one, if it is known. */
  constructor(chainBefore: (place: LedgerPlace) => Promise<string | undefined>) {
    this.#chainBefore = chainBefore
  }

  /** `columns`: as they are stored; where there is the text alone, those that are made of it. */
  async examine(row: ArchivedRow, columns?: TextColumns): Promise<Examined> {
    const { gateway, epoch, sequence, text: body, disposition, reason } = row
    const follows =
      this.#last?.gateway === gateway && this.#last.epoch === epoch && this.#last.sequence === sequence - 1
    const before = follows ? this.#last?.chain : await this.#before(row)
    this.#last = { gateway, epoch, sequence, chain: claimedChain(body) }
    const event = { sequence, body, disposition, reason: reason ?? undefined, storedMs: 0 }
    const stored = columns ?? textColumns(parseText(body) ?? {})
    return { row, before, fault: examineEvent({ ...event, ...stored }, { gateway, epoch }, before) }
  }

  #before(place: LedgerPlace): Promise<string | undefined> | string {
    return place.sequence === 1 ? genesis(place.gateway, place.epoch) : this.#chainBefore(place)
  }
}
