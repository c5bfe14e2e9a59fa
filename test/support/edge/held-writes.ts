import { EventEmitter, once } from 'node:events'
import { Level } from 'level'
import { vi } from 'vitest'

/** What is put into LevelDB under keys that begin so waits until `open` is called; ends with `vi.restoreAllMocks`. */
export function holdWrites(prefix: string): { begun: Promise<unknown>; open: () => void } {
  const gate = new EventEmitter()
  const [begun, opened] = [once(gate, 'begun'), once(gate, 'opened')]
  const prototype: Record<'put' | 'batch', (...given: unknown[]) => unknown> = Level.prototype
  for (const name of ['put', 'batch'] as const) {
    const write = prototype[name]
    vi.spyOn(prototype, name).mockImplementation(async function (this: unknown, ...given: unknown[]) {
      if (keysOf(given[0]).some((key) => key.startsWith(prefix))) {
        gate.emit('begun')
        await opened
      }
      await Reflect.apply(write, this, given)
    })
  }
  return { begun, open: () => void gate.emit('opened') }
}

/** Of a put, or of a batch. */
function keysOf(what: unknown): string[] {
  if (!Array.isArray(what)) return [String(what)]
  return (what as { type: string; key: string }[]).flatMap(({ type, key }) => (type === 'put' ? [key] : []))
}
