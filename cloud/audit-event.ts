import { claimedChain, verifyChain } from '../src/codec.ts'
import type { LedgerName } from './audit-notes.ts'
import { isAt, parseText, placeText } from './audit-text.ts'

export interface AuditedEvent {
  sequence: number
  source: string
  id: string
  type: string
  storedMs: number
  /** The wire text, verbatim. */
  body: string
}

export interface AuditFault {
  sequence: number
  /** Of the event, if there is one. */
  source?: string
  id?: string
  kind: 'altered' | 'moved' | 'relabelled' | 'unlinked' | 'unfounded'
  detail: string
}

/** What is wrong with one event, if anything; `chain` is that of its predecessor, if it is known. */
export function examineEvent(
  event: AuditedEvent,
  ledger: LedgerName,
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
  for (const name of ['source', 'id', 'type'] as const) {
    if (text[name] !== event[name]) {
      return fault('relabelled', `its text says ${name} ${JSON.stringify(text[name])}`)
    }
  }
  if (claimedChain(body) === undefined) return fault('altered', 'its text does not end with its chain value')
  if (chain !== undefined && !verifyChain(body, chain)) {
    return fault('unlinked', `its text was altered, or what stood before it at ${sequence - 1} was`)
  }
  return undefined
}
