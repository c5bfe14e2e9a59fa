import { crc32 } from 'node:zlib'
import type { StoreOperation, StoreReader } from '../../store/store.ts'
import { allGone, expiryKey, goneKey, eventKey, parseBlockKey } from './keys.ts'
import type { Block, Entry, Slot } from './record.ts'

/**
 * Which events have left a block that still holds others: a digit for each slot, 1 for gone. On the disk and, of the blocks of
 * which a part is left, in memory. It changes in the same write as the counts (I2).
 */
export class Gone {
  readonly #digits: Map<string, string>
  /** Blocks that all have left since, which a read that began before may still bring. */
  readonly #emptied = new Set<string>()
  /** Keys of marks that cannot be read. */
  readonly altered: readonly string[]

  constructor(digits: Map<string, string> = new Map(), altered: readonly string[] = []) {
    this.#digits = digits
    this.altered = altered
  }

  has({ block, slot }: Slot): boolean {
    if (this.#emptied.has(block.key)) return true
    return this.#digitsOf(block)?.[slot] === '1'
  }

  /** Of one block's entries those that have not left it. */
  stillIn(entries: readonly Entry[]): readonly Entry[] {
    const [first] = entries
    if (first && this.#emptied.has(first.block.key)) return []
    const digits = first && this.#digitsOf(first.block)
    return digits === undefined ? entries : entries.filter(({ slot }) => digits[slot] !== '1')
  }

  /** How many of all blocks' events have left them. */
  get size(): number {
    let size = 0
    for (const digits of this.#digits.values()) for (const digit of digits) if (digit === '1') size += 1
    return size
  }

  /** No read is under way that began before now. */
  forgetEmptied(): void {
    this.#emptied.clear()
  }

  /** Adds the operations that take events out of their blocks, and with the last one the block; call what it returns when they have landed. */
  leave(slots: Iterable<Slot>, operations: StoreOperation[]): () => void {
    const touched = new Map<string, { block: Block; digits: string[] }>()
    for (const { block, slot } of slots) {
      const { digits } = touched.get(block.key) ?? { digits: this.#allDigitsOf(block) }
      digits[slot] = '1'
      touched.set(block.key, { block, digits })
    }
    const now = new Map<string, string | undefined>()
    for (const [key, { block, digits }] of touched) {
      const isEmpty = !digits.includes('0')
      const joined = digits.join('')
      now.set(key, isEmpty ? undefined : joined)
      if (isEmpty) operations.push(...this.#removalOf(block))
      else operations.push({ type: 'put', key: goneKey(block.lane, block.last), value: encode(joined) })
    }
    return () => {
      for (const [key, digits] of now) {
        if (digits === undefined) {
          this.#digits.delete(key)
          this.#emptied.add(key)
        } else this.#digits.set(key, digits)
      }
    }
  }

  /** Of a block that cannot be taken apart one slot is known, which stands for what has left it and for what has not. */
  #digitsOf({ key, positions }: Block): string | undefined {
    const digits = this.#digits.get(key)
    return digits?.length === positions.length ? digits : undefined
  }

  #allDigitsOf(block: Block): string[] {
    return this.#digitsOf(block)?.split('') ?? Array.from(block.positions, () => '0')
  }

  #removalOf({ key, lane, last, deadlines }: Block): StoreOperation[] {
    const keys = [key, ...deadlines.map((deadline) => expiryKey(deadline, last, lane))]
    if (this.#digits.has(key)) keys.push(goneKey(lane, last))
    return keys.map((key) => ({ type: 'del', key }))
  }
}

/** What stands in the store. What cannot be read says of nothing that it has left: sending an event again is better than losing it. */
export async function readGone(store: StoreReader, max = 10_000_000): Promise<Gone> {
  const digits = new Map<string, string>()
  const altered: string[] = []
  for (const [key, value] of await store.entries(allGone, max)) {
    const { lane, last } = parseBlockKey(key)
    const decoded = decodeGone(value)
    if (decoded === undefined) altered.push(key)
    else digits.set(eventKey(lane, last), decoded)
  }
  return new Gone(digits, altered)
}

/** The digits; undefined: they were altered. */
export function decodeGone(value: string): string | undefined {
  const [sum, digits = ''] = value.split('\t')
  return crc32(digits).toString(36) === sum ? digits : undefined
}

function encode(digits: string): string {
  return `${crc32(digits).toString(36)}\t${digits}`
}
