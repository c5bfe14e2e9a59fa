import { entriesOfBlock } from '../../../edge/outbox/layout/block.ts'
import { decodeGone } from '../../../edge/outbox/layout/gone.ts'
import { eventKey, laneGuard, parseBlockKey } from '../../../edge/outbox/layout/keys.ts'
import { decodeRecord, type StoredEvent } from '../../../edge/outbox/layout/record.ts'
import type { Lane } from '../../../edge/outbox/outbox.ts'
import type { StoreOperation } from '../../../edge/store/store.ts'
import type { SimulatedDisk } from '../../support/fakes/simulated-disk.ts'

/** The outbox's blocks as the disk holds them, read by whoever watches the disk: which events come and go with a write. */
export class BlocksSeen {
  private readonly blocks = new Map<string, StoredEvent[]>()
  private readonly gone = new Map<string, string>()

  /** The operations took effect, or took others back. */
  changed(operations: readonly StoreOperation[]): { came: StoredEvent[]; left: number[] } {
    const keys = new Set(operations.flatMap(({ key }) => blockOf(key) ?? []))
    const before = new Map([...keys].map((key) => [key, this.queued(key)]))
    for (const operation of operations) this.apply(operation)
    const came: StoredEvent[] = []
    const left: number[] = []
    for (const [key, were] of before) {
      const are = this.queued(key)
      const held = new Set(were.map(({ position }) => position))
      const holds = new Set(are.map(({ position }) => position))
      came.push(...are.filter(({ position }) => !held.has(position)))
      left.push(...[...held].filter((position) => !holds.has(position)))
    }
    return { came, left }
  }

  /** Positions of the events that a write brought which these operations take back. */
  writtenIn(undo: readonly StoreOperation[]): number[] {
    return undo.flatMap(({ type, key }) =>
      type === 'del' && key.startsWith('e!')
        ? (this.blocks.get(key) ?? []).map(({ position }) => position)
        : [],
    )
  }

  private apply(operation: StoreOperation): void {
    const { key } = operation
    const block = blockOf(key)
    if (block === undefined) return
    const { lane, last } = parseBlockKey(key)
    if (operation.type === 'del') (key === block ? this.blocks : this.gone).delete(block)
    else if (key === block)
      this.blocks.set(block, entriesOfBlock(lane, last, operation.value).map(decodeRecord))
    else this.gone.set(block, decodeGone(operation.value) ?? '')
  }

  private queued(key: string): StoredEvent[] {
    const gone = this.gone.get(key) ?? ''
    return (this.blocks.get(key) ?? []).filter(({ slot }) => gone[slot] !== '1')
  }
}

/** The events that wait on a disk, as it stands. */
export function queuedOn(disk: Pick<SimulatedDisk, 'get' | 'keysStartingWith'>, lane: Lane): StoredEvent[] {
  const seen = new BlocksSeen()
  return seen.changed(
    ['e!', 'r!']
      .flatMap((kind) => disk.keysStartingWith(`${kind}${lane === 'high' ? 'h' : 'n'}`))
      .map((key) => ({ type: 'put', key, value: disk.get(key) ?? '' })),
  ).came
}

/** The key of the block that a key of `e!` or `r!` is about. */
function blockOf(key: string): string | undefined {
  if (key === laneGuard || !/^[er]!/.test(key)) return undefined
  const { lane, last } = parseBlockKey(key)
  return eventKey(lane, last)
}
