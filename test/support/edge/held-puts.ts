import { EventEmitter, once } from 'node:events'
import { Level } from 'level'
import { vi } from 'vitest'

/** Writes to LevelDB under keys that begin so wait until `open` is called; ends with `vi.restoreAllMocks`. */
export function holdPuts(prefix: string): { begun: Promise<unknown>; open: () => void } {
  const gate = new EventEmitter()
  const [begun, opened] = [once(gate, 'begun'), once(gate, 'opened')]
  const prototype: { put: (...given: unknown[]) => unknown } = Level.prototype
  const { put } = prototype
  vi.spyOn(prototype, 'put').mockImplementation(async function (this: unknown, ...given: unknown[]) {
    if (String(given[0]).startsWith(prefix)) {
      gate.emit('begun')
      await opened
    }
    await Reflect.apply(put, this, given)
  })
  return { begun, open: () => void gate.emit('opened') }
}
