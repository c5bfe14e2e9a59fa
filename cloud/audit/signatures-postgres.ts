import { checkpointType } from '../../src/contract/checkpoint.ts'
import { claimedChain } from '../../src/contract/codec.ts'
import type { GatewayKey } from '../gateways/registry.ts'
import type { LedgerName } from './notes.ts'
import type { Query } from './notes-postgres.ts'
import { signedThrough, type StoredCheckpoint } from './signatures.ts'

/** The newest one is true, if nobody has tampered: it is read alone, since the one before it may be 10,000 events away. */
const pageRows = (before: number): number => (before === Number.MAX_SAFE_INTEGER ? 1 : 20)

const checkpointsSql = `
select e.sequence::float8 as sequence, e.body::text as body from tidegate.events as e
where e.gateway = $1 and e.epoch = $2 and e.sequence < $3 and e.type = '${checkpointType}'
order by e.sequence desc limit $4`

const bodySql = `
select body::text as body from tidegate.events where gateway = $1 and epoch = $2 and sequence = $3`

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
      const chainAt = async (sequence: number): Promise<string | undefined> => {
        const [row] = await query<{ body: string }>(bodySql, [gateway, epoch, sequence])
        return row && claimedChain(row.body)
      }
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
