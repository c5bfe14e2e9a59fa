import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach } from 'vitest'

/** A folder for one file of tests, which is kept, and named, if one of them fails. */
export function useFolder(prefix: string): string {
  const dir = mkdtempSync(join(tmpdir(), prefix))
  // PostgreSQL does not run as root: its user must be able to reach its data.
  chmodSync(dir, 0o711)
  let failed = false
  afterEach(({ task }) => void (failed ||= task.result?.state === 'fail'))
  afterAll(() => {
    if (failed)
      process.stderr.write(`A test failed. Nothing was deleted: everything it left lies in ${dir}\n`)
    else rmSync(dir, { recursive: true, force: true })
  })
  return dir
}
