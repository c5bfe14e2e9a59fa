import { rmSync } from 'node:fs'
import type { Scope } from '../../src/lifecycle.ts'

/** Ctrl-C leaves nothing behind: no server, no worktree, no folder. */
export function closeOnSignal(scope: Scope, dir: string): void {
  const stop = (): void =>
    void scope.close().finally(() => {
      rmSync(dir, { recursive: true, force: true, maxRetries: 5 })
      process.exit(130)
    })
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
}
