import type { StoreReader } from '../../store/store.ts'
import { allDevices } from './keys.ts'

/** What is queued of a device, a lane or the whole outbox. */
export interface Usage {
  events: number
  bytes: number
}

const devicesMax = 10_000_000

/** `<events> <bytes>`: a device's record. */
export function encodeUsage({ events, bytes }: Usage): string {
  return `${events} ${bytes}`
}

/** What each device has queued, by the counts in the store; and how many of these cannot be read. */
export async function readUsage(
  store: StoreReader,
): Promise<{ readable: Map<string, Usage>; altered: number }> {
  const readable = new Map<string, Usage>()
  const entries = await store.entries(allDevices, devicesMax)
  for (const [key, value] of entries) {
    const [, events, bytes] = /^(\d+) (\d+)$/.exec(value) ?? []
    if (events !== undefined) readable.set(key.slice(2), { events: Number(events), bytes: Number(bytes) })
  }
  return { readable, altered: entries.length - readable.size }
}

/** Every device of which the store holds a count, one that cannot be read included. */
export async function countedDevices(store: StoreReader): Promise<string[]> {
  return (await store.entries(allDevices, devicesMax)).map(([key]) => key.slice(2))
}
