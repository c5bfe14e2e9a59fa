import { writeCandidate } from '../../../src/contract/codec.ts'
import { type LedgerEntry, ledgerType } from '../../../src/contract/event.ts'
import { isSameUse, noSchemasUsed, schemasType } from '../../../src/contract/schemas-used.ts'
import type { Core } from './core.ts'
import type { Draft } from './draft.ts'

/** Gives the cloud news of the ledger a place in the ledger itself (I5). */
export function appendLedgerEntry(core: Core, draft: Draft, entry: LedgerEntry): void {
  appendSystemEvent(core, draft, ledgerType, entry)
}

/** What the gateway says itself takes a place like any event; no bound stands in its way. */
export function appendSystemEvent(core: Core, draft: Draft, type: string, data: unknown): void {
  const { clock } = core.options
  const { gateway, epoch, position, epochBase } = draft.head
  const nowMs = clock.now()
  const time = new Date(nowMs).toISOString()
  const candidate = writeCandidate({
    specversion: '1.0',
    id: `${epoch}-${position + 1 - epochBase}`,
    source: `/gateways/${gateway}`,
    type,
    time,
    datacontenttype: 'application/json',
    partitionkey: gateway,
    data,
  })
  const encoded = draft.encode(candidate, time)
  const bytes = Buffer.byteLength(encoded.text)
  draft.append(candidate, encoded, {
    lane: 'high',
    bytes,
    recordedAtMs: nowMs,
    steadyMs: core.steady.now(),
    ttlMs: undefined,
  })
}

/**
 * Says in the ledger which schemas events are judged by, each that is something else than was said before it: one that is no longer in use may
 * have judged what is in line. The head learns the newest in the same write (I2); a head that was made anew after damage knows nothing, and it
 * is said again. Answers how many of them need not be looked at again once the write has landed.
 */
export function enterSchemas(core: Core, draft: Draft): number {
  for (const schemas of core.schemas) {
    if (isSameUse(schemas, draft.head.schemas ?? noSchemasUsed)) continue
    appendSystemEvent(core, draft, schemasType, schemas)
    draft.head.schemas = schemas
  }
  return core.schemas.length
}

/** Reports undelivered ranges of one epoch, if there are any. */
export function reportInto(core: Core, draft: Draft): void {
  const report = core.state.undelivered.take(draft.operations)
  if (!report) return
  appendLedgerEntry(core, draft, { kind: 'undelivered', ...report })
  core.lastReportMs = core.options.clock.monotonicMs()
}
