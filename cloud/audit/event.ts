import { claimedChain, verifyChain } from '../../src/contract/codec.ts'
import { rejectedType } from '../../src/contract/event.ts'
import { attributes, dispositionOf, type TextColumns, textColumns } from '../history/record.ts'
import type { HistoryRecord, LedgerPlace } from '../history/history.ts'

/** An event as it is stored, column by column. */
export interface AuditedEvent extends Omit<HistoryRecord, 'gateway' | 'epoch'> {
  storedMs: number
  /** Of an archive that is attached: its place is retired all the same. */
  isArchived?: boolean
}

export interface AuditFault {
  sequence: number
  /** Of the event, if there is one. */
  source?: string
  id?: string
  kind:
    | 'altered'
    | 'moved'
    | 'relabelled'
    | 'unlinked'
    | 'unfounded'
    | 'unrecorded'
    | 'foreign'
    | 'shared'
    | 'forged'
    | 'unknown-key'
    | 'rewritten'
    | 'unsigned'
    | 'cut'
    | 'doubled'
    | 'incomplete'
  detail: string
}

/** What is wrong with one event, if anything; `chain` is that of its predecessor, if it is known. */
export function examineEvent(
  event: AuditedEvent,
  ledger: Omit<LedgerPlace, 'sequence'>,
  chain: string | undefined,
): AuditFault | undefined {
  const { sequence, source, id, body } = event
  const fault = (kind: AuditFault['kind'], detail: string): AuditFault => ({
    sequence,
    source,
    id,
    kind,
    detail,
  })
  const text = parseText(body)
  if (text === undefined) return fault('altered', 'its text is not a JSON object')
  if (!isAt(text, { ...ledger, sequence })) return fault('moved', `its text belongs at ${placeText(text)}`)
  if (claimedChain(body) === undefined) return fault('altered', 'its text does not end with its chain value')
  if (chain !== undefined && !verifyChain(body, chain)) {
    return fault('unlinked', `its text was altered, or what stood before it at ${sequence - 1} was`)
  }
  const other = relabelled(event, text)
  return other === undefined ? undefined : fault('relabelled', other)
}

const columnNames = Object.keys(attributes) as (keyof TextColumns)[]

/** Which column says something else than the text, if one does. */
function relabelled(event: AuditedEvent, text: Record<string, unknown>): string | undefined {
  const expected = textColumns(text)
  const name = columnNames.find((column) => expected[column] !== event[column])
  if (name !== undefined) {
    const attribute = attributes[name]
    const said = text[attribute]
    return `its text says ${said === undefined ? `no ${attribute}` : `${attribute} ${JSON.stringify(said)}`}, its column does not`
  }
  const { type, disposition, reason } = event
  if ((type === rejectedType) !== (disposition === 'rejected'))
    return `it is stored as ${disposition}, and its type is ${type}`
  if (disposition !== dispositionOf(type, reason !== undefined))
    return `it is stored as ${disposition}, ${reason === undefined ? 'without a reason' : 'with a reason why not'}`
  return undefined
}

/** The members of a wire text, or undefined if it is no JSON object. Nothing is known of their types. */
export function parseText(body: string | undefined): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(body ?? '')
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

/** Whether a text says that it stands there. */
export function isAt(text: Record<string, unknown>, { gateway, epoch, sequence }: LedgerPlace): boolean {
  return text['gateway'] === gateway && text['epoch'] === epoch && text['sequence'] === sequence
}

/** How a place of a ledger is written for a person. */
export function placeText({ gateway, epoch, sequence }: Record<keyof LedgerPlace, unknown>): string {
  return `${String(gateway)}/${String(epoch)}/${String(sequence)}`
}
