import type { Registry } from '../gateways/registry.ts'
import type { DemandedHead } from './checkpoints.ts'
import { ledgerKey } from '../deeds/acceptances.ts'
import type { AuditedClosure } from './ledger.ts'
import type { LedgerName } from './notes.ts'

/** As many as outboxes were replaced. */
export interface Closure extends AuditedClosure, LedgerName {}

/** For each ledger those of its own epoch, by whoever may speak of it, and what its gateway says of others. */
export function closuresIn(
  closures: readonly Closure[],
  registry: Registry,
): (ledger: LedgerName) => Map<string, AuditedClosure> {
  const byEpoch = grouped(closures, ({ epoch }) => epoch)
  const bySpeaker = grouped(closures, ({ gateway }) => gateway)
  return ({ gateway, epoch }) => {
    const ofIt = (byEpoch.get(epoch) ?? []).filter((one) => registry.maySpeakOf(one.gateway, gateway))
    const ofOthers = (bySpeaker.get(gateway) ?? []).filter((one) => one.epoch !== epoch)
    const found = new Map<string, AuditedClosure>()
    for (const { epoch: about, last, notedMs } of [...ofIt, ...ofOthers])
      if (last >= (found.get(about)?.last ?? 0)) found.set(about, { last, notedMs })
    return found
  }
}

/** By ledger. */
export function headsByLedger(heads: readonly DemandedHead[]): Map<string, DemandedHead[]> {
  return grouped(heads, ledgerKey)
}

/** Ledgers of which a head was kept, and nothing else is left. */
export function goneLedgers(stored: readonly LedgerName[], demanded: readonly DemandedHead[]): LedgerName[] {
  const known = new Set(stored.map(ledgerKey))
  const gone = new Map(
    demanded.map(({ gateway, epoch }) => [ledgerKey({ gateway, epoch }), { gateway, epoch }]),
  )
  return [...gone].filter(([key]) => !known.has(key)).map(([, ledger]) => ledger)
}

function grouped<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const item of items) {
    const key = keyOf(item)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [item])
    else group.push(item)
  }
  return groups
}
