import { visibleLine } from '../../src/visible.ts'
import type { Finding } from '../outbox/look/finding.ts'

/** As far as the folder can know, and what it cannot. */
export function renderFinding(id: string, device: string | undefined, finding: Finding): string {
  const { queued, remembered, undelivered, damaged, epoch, lastSequence } = finding
  const name = visibleLine(id)
  const lines = queued.map(
    ({ deviceId, type, sequence, epoch: of, lane, recordedAt, rejected }) =>
      `  queued, lane ${lane}: ${type} of ${deviceId}, ${of}/${sequence}, admitted ${recordedAt}` +
      (rejected === undefined ? '' : `; rejected: ${visibleLine(rejected)}`),
  )
  if (queued.length === 0) lines.push('  not queued')
  if (remembered === true && queued.length === 0)
    lines.push('  remembered: it was admitted here, and has left the queue: delivered, or expired or evicted')
  if (remembered === false)
    lines.push(
      '  not remembered: not admitted under this ID within the dedup window',
      '  whether it was rejected here cannot be known: such a reading has another ID, of its text; the cloud finds it by this one',
    )
  if (device === undefined)
    lines.push('  not asked whether it is remembered: only a hash of device and ID is, so name --device')
  lines.push(
    ...undelivered.map(
      ({ from, to, reason, epoch: of }) =>
        `  ${of}/${from === to ? from : `${from} to ${to}`} ${reason}, and the cloud is not told yet: it may be of these`,
    ),
  )
  if (damaged > 0) lines.push(`  ${damaged} damaged records cannot be read: it may be one of them`)
  lines.push(
    `  the ledger is at ${epoch}/${lastSequence}; what was delivered the cloud knows: tidegate where ID`,
  )
  return [name, ...lines].join('\n')
}
