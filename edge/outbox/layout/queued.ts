import type { StoreReader } from '../../store/store.ts'
import type { Lane } from '../outbox.ts'
import { entriesOfBlock } from './block.ts'
import { type Gone, readGone } from './gone.ts'
import { eventRange, parseBlockKey } from './keys.ts'
import type { Entry } from './record.ts'

/** What is still queued in the blocks of a lane, by position, from one on; of those that stand in `blocks`. */
export function queuedIn(
  blocks: readonly (readonly [key: string, value: string])[],
  gone: Gone,
  from: number,
): Entry[] {
  return blocks.flatMap(([key, value]) => {
    const { lane, last } = parseBlockKey(key)
    const entries = gone.stillIn(entriesOfBlock(lane, last, value))
    return (entries[0]?.position ?? from) >= from
      ? entries
      : entries.filter(({ position }) => position >= from)
  })
}

/** The entries of both lanes by position, in flat memory. */
export async function* queued(store: StoreReader): AsyncIterable<Entry> {
  const gone = await readGone(store)
  const high = entriesOf(store, gone, 'high', 0)
  const normal = entriesOf(store, gone, 'normal', 0)
  try {
    let [a, b] = [await high.next(), await normal.next()]
    while (!a.done || !b.done) {
      if (b.done || (!a.done && a.value.position < b.value.position)) {
        yield a.value as Entry
        a = await high.next()
      } else {
        yield b.value
        b = await normal.next()
      }
    }
  } finally {
    await high.return()
    await normal.return()
  }
}

/** The entries of a lane by position, from one on, in flat memory. */
export async function* queuedOf(store: StoreReader, lane: Lane, first: number): AsyncIterable<Entry> {
  yield* entriesOf(store, await readGone(store), lane, first)
}

async function* entriesOf(
  store: StoreReader,
  gone: Gone,
  lane: Lane,
  first: number,
): AsyncGenerator<Entry, void, void> {
  for await (const chunk of store.chunks(eventRange(lane, first))) {
    for (const block of chunk) yield* queuedIn([block], gone, first)
  }
}
