import { checkpointType } from '../../src/contract/checkpoint.ts'
import { retiredAt, type RetiredRange } from '../deeds/retirements.ts'
import type { GatewayKey } from '../gateways/registry.ts'
import { type DemandedHead, faultOfEvent, faultOfNoted } from './checkpoints.ts'
import type { AuditFault } from './event.ts'
import { readChain } from './events-postgres.ts'
import { believed, type LedgerName, type NotedLedger } from './notes.ts'
import { type Originals, type Query, readNotes, readNotesEndingAt } from './notes-postgres.ts'
import { signedThrough, type StoredCheckpoint } from './signatures.ts'

/** The newest one is true, if nobody has tampered: it is read alone, since the one before it may be 10,000 events away. */
const pageRows = (before: number): number => (before === Number.MAX_SAFE_INTEGER ? 1 : 20)

const checkpointsSql = `
select e.sequence::float8 as sequence, e.body::text as body from tidegate.events as e
where e.gateway = $1 and e.epoch = $2 and e.sequence < $3 and e.type = '${checkpointType}'
order by e.sequence desc limit $4`

/** Up to where each ledger is signed: asked of the database once. */
export function signaturesIn(
  query: Query,
  keysOf: (gateway: string) => readonly GatewayKey[],
): (ledger: LedgerName) => Promise<number> {
  const known = new Map<string, Promise<number>>()
  return ({ gateway, epoch }) => {
    const name = `${gateway} ${epoch}`
    let through = known.get(name)
    if (through === undefined) {
      const checkpoints = readCheckpoints(query, { gateway, epoch })
      const chainAt = async (sequence: number): Promise<string | undefined> =>
        (await readChain(query, { gateway, epoch }, sequence)) ?? undefined
      through = signedThrough({ gateway, epoch, keys: keysOf(gateway), checkpoints, chainAt })
      known.set(name, through)
    }
    return through
  }
}

async function* readCheckpoints(
  query: Query,
  { gateway, epoch }: LedgerName,
): AsyncGenerator<StoredCheckpoint> {
  for (let before = Number.MAX_SAFE_INTEGER; ;) {
    const count = pageRows(before)
    const rows = await query<StoredCheckpoint>(checkpointsSql, [gateway, epoch, before, count])
    yield* rows
    const last = rows.at(-1)
    if (last === undefined || rows.length < count) return
    before = last.sequence
  }
}

/** Of heads in front of where the walk begins. */
export async function faultsOfHeads(
  heads: readonly DemandedHead[],
  {
    chainAt,
    notedAt,
    retired,
  }: {
    chainAt: (sequence: number) => Promise<string | null | undefined>
    notedAt: (sequence: number) => Promise<string[]>
    retired: readonly RetiredRange[]
  },
): Promise<AuditFault[]> {
  const faults: (AuditFault | undefined)[] = []
  for (const head of heads) {
    const chain = await chainAt(head.sequence)
    // Of what is in an archive nothing but the end of each range is known here.
    if (chain === undefined && retiredAt(retired, head.sequence)) continue
    if (chain !== undefined) faults.push(faultOfEvent(head, chain))
    else faults.push(faultOfNoted(head, head.isEvent ? [] : await notedAt(head.sequence)))
  }
  return faults.filter((fault) => fault !== undefined)
}

/** A ledger that is spoken of, and what is retired. */
type Spoken = Omit<NotedLedger, 'notes'> & { retirements: Originals }

/** What believed notes say of the end of theirs that is there: one that reaches further may have come since. */
export async function readNotedChains(query: Query, ledger: Spoken, sequence: number): Promise<string[]> {
  const notes = readNotesEndingAt(query, ledger.epoch, { to: sequence, retirements: ledger.retirements })
  const chains: string[] = []
  for await (const { chain } of believed({ ...ledger, notes }, () => true))
    if (chain !== undefined) chains.push(chain)
  return chains
}

/** How many notes that begin in front of a place are not believed. */
export async function countDoubts(query: Query, ledger: Spoken, before: number): Promise<number> {
  let count = 0
  const doubted = ({ sequence }: AuditFault): void => void (count += sequence < before ? 1 : 0)
  const notes = readNotes(query, ledger.epoch, { from: 1, retirements: ledger.retirements })
  for await (const { from } of believed({ ...ledger, notes }, () => true, { doubted }))
    if (from >= before) break
  return count
}
