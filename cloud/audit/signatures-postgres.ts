import { checkpointType } from '../../src/contract/checkpoint.ts'
import { claimedChain } from '../../src/contract/codec.ts'
import type { GatewayKey } from '../gateways/registry.ts'
import { type DemandedHead, headIsGone, headIsOther } from './checkpoints.ts'
import type { AuditFault } from './event.ts'
import type { LedgerName } from './notes.ts'
import type { Query } from './notes-postgres.ts'
import { signedThrough, type StoredCheckpoint } from './signatures.ts'

/** The newest one is true, if nobody has tampered: it is read alone, since the one before it may be 10,000 events away. */
const pageRows = (before: number): number => (before === Number.MAX_SAFE_INTEGER ? 1 : 20)

const checkpointsSql = `
select e.sequence::float8 as sequence, e.body::text as body from tidegate.events as e
where e.gateway = $1 and e.epoch = $2 and e.sequence < $3 and e.type = '${checkpointType}'
order by e.sequence desc limit $4`

const chainSql = `
select body::text as body from tidegate.events where gateway = $1 and epoch = $2 and sequence = $3 order by position limit 1`

const notedChainSql = `
select chain from tidegate.ledger_notes
where epoch = $1 and to_sequence = $2 and from_sequence <= $2 and chain is not null limit 1`

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
      const chainAt = (sequence: number): Promise<string | undefined> =>
        chainOfEvent(query, { gateway, epoch, sequence })
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
  chainAt: (sequence: number) => Promise<string | undefined>,
): Promise<AuditFault[]> {
  const faults: AuditFault[] = []
  for (const head of heads) {
    const chain = await chainAt(head.sequence)
    if (chain === undefined) faults.push(headIsGone(head))
    else if (chain !== head.chain) faults.push(headIsOther(head, chain))
  }
  return faults
}

/** What stands in a place, or what was said of it: its chain value. */
export async function readChain(
  query: Query,
  { gateway, epoch }: LedgerName,
  sequence: number,
): Promise<string | undefined> {
  const chain = await chainOfEvent(query, { gateway, epoch, sequence })
  if (chain !== undefined) return chain
  const [note] = await query<{ chain: string }>(notedChainSql, [epoch, sequence])
  return note?.chain
}

async function chainOfEvent(
  query: Query,
  { gateway, epoch, sequence }: LedgerName & { sequence: number },
): Promise<string | undefined> {
  const [event] = await query<{ body: string }>(chainSql, [gateway, epoch, sequence])
  return event && claimedChain(event.body)
}
