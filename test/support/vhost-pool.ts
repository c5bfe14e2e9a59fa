import { randomUUID } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type RabbitUser, renderDefinitions } from '../../dev/servers/rabbit/files.ts'

/** One command makes many: a tenth of a second each, where a command for each takes two thirds. */
const madeTogether = 16
const low = 8

export interface VhostPool {
  /** Made at boot. */
  first: readonly string[]
  /** The name of a virtual host that nobody has had. */
  take(): Promise<string>
}

/** Makes virtual hosts ahead of those who ask, while they work with theirs. */
export function vhostPool(
  dir: string,
  user: RabbitUser,
  ctl: (args: readonly string[]) => Promise<string>,
): VhostPool {
  let count = 0
  const names = (): string[] =>
    Array.from({ length: madeTogether }, () => `t${String(count++).padStart(3, '0')}`)
  const first = names()
  const ready = [...first]
  let making: Promise<void> | undefined

  async function make(): Promise<void> {
    const more = names()
    const file = join(dir, `definitions-${randomUUID()}.json`)
    writeFileSync(file, renderDefinitions([user], more), { mode: 0o600 })
    try {
      await ctl(['import_definitions', file])
      ready.push(...more)
    } finally {
      rmSync(file)
    }
  }

  /** Who finds none waits for this, and learns what went wrong. */
  function fill(): Promise<void> {
    making ??= make().finally(() => (making = undefined))
    return making
  }

  return {
    first,
    async take() {
      if (ready.length <= low) fill().catch(() => {})
      for (;;) {
        const name = ready.shift()
        if (name !== undefined) return name
        await fill()
      }
    },
  }
}
