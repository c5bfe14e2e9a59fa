import type { LedgerPlace } from '../history/history.ts'

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
