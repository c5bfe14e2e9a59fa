import type { AuditedEvent } from '../../../cloud/audit/event.ts'
import type { LedgerReport } from '../../../cloud/audit/ledger.ts'
import type { RetiredRange } from '../../../cloud/deeds/retirements.ts'
import { isKept, Ranges } from '../../../cloud/retention/format.ts'
import { claimedChain, encodeEvent } from '../../../src/contract/codec.ts'
import type { Event } from '../../../src/contract/event.ts'

/** What is stored of a ledger, and what was taken out of it. */
export interface Left {
  events: readonly AuditedEvent[]
  retired: readonly RetiredRange[]
}

interface ToCheck {
  gateway: string
  epoch: string
  events: readonly AuditedEvent[]
  /** Of all of it; it is all right. */
  whole: LedgerReport
  audit: (left: Left) => Promise<LedgerReport>
  violate: (what: string) => void
}

/**
 * G8: the middle of a ledger is archived and dropped, as retention does it. The audit misses nothing for that, and says nothing else;
 * what stands before it, written anew with a correct hash, is found; and so is what is attached.
 */
export async function checkRetention(given: ToCheck): Promise<void> {
  const { events, whole, audit, violate } = given
  const { left, retired, gone } = retire(given)
  if (gone.length === 0) return
  const report = await audit({ events: left, retired })
  const count = report.present.count + report.retired.count
  const isSame = report.ok && count === whole.present.count && report.lastSequence === whole.lastSequence
  if (!isSame) violate(`the audit of what is left beside an archive says ${JSON.stringify(report.faults)}`)
  const archived = gone.map((event) => ({ ...event, isArchived: true }))
  const attached = await audit({ events: inOrder([...left, ...archived]), retired })
  if (!attached.ok || attached.unverifiedLinks !== whole.unverifiedLinks)
    violate(`the audit through an archive that is attached says ${JSON.stringify(attached.faults)}`)
  // What is put into a place that is retired is found, and nothing else is said of the rest.
  const added = gone[Math.floor(gone.length / 2)]
  if (added !== undefined) {
    const filled = await audit({ events: inOrder([...left, added]), retired })
    const [fault] = filled.faults
    if (fault?.kind !== 'doubled' || filled.faultCount !== 1 || filled.chain !== 'intact')
      violate(`what was added in a retired place, ${added.sequence}, is taken for ${JSON.stringify(fault)}`)
  }
  // What its own hash does not betray: the one before it is known, and the one behind it is gone.
  const first = gone[0]?.sequence ?? 0
  const at = left.findIndex(({ sequence }) => sequence === first - 1)
  const [before, victim] = [left[at - 1], left[at]]
  if (before === undefined || before.sequence !== first - 2 || victim === undefined) return
  const { chain: _, ...open } = JSON.parse(victim.body) as Event
  const anew = { ...open, data: { forged: true } }
  const { text: body } = encodeEvent(anew, claimedChain(before.body) ?? '')
  const forged = left.map((event) => (event === victim ? { ...event, body } : event))
  if ((await audit({ events: forged, retired })).ok)
    violate(
      `the audit believes what was written anew before what was retired from ${first} of ${events.length} on`,
    )
}

/** Its middle third, but for what stays. */
function retire({ gateway, epoch, events }: ToCheck): Left & { left: AuditedEvent[]; gone: AuditedEvent[] } {
  const third = Math.floor(events.length / 3)
  const ranges = new Ranges()
  const left: AuditedEvent[] = []
  const gone: AuditedEvent[] = []
  events.forEach((event, index) => {
    const { sequence, body: text } = event
    if (index < third || index >= 2 * third || isKept({ gateway, text })) {
      left.push(event)
      return
    }
    gone.push(event)
    const last = events[index - 1]
    const before = last?.sequence === sequence - 1 ? claimedChain(last.body) : undefined
    const row = { gateway, epoch, sequence, text, ...notAsked }
    ranges.add({ row, before, fault: undefined })
  })
  return { events: left, left, gone, retired: ranges.list }
}

const notAsked = {
  era: 0,
  tx: '0',
  position: '0',
  stored: '',
  disposition: 'accepted',
  reason: null,
} as const

function inOrder(events: readonly AuditedEvent[]): AuditedEvent[] {
  return events.toSorted((a, b) => a.sequence - b.sequence)
}
