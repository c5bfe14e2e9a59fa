import { createHash } from 'node:crypto'

/** Beside the types; `sha256sum -c schemas.lock` in that folder says the same as is said here. */
export const lockName = 'schemas.lock'

/** The SHA-256 of each file that is published and must not change any more, by its path from the folder of schemas. */
export type Lock = ReadonlyMap<string, string>

/** In hexadecimal digits, as `sha256sum` writes it. */
export function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** What a lock says, and which of its lines are none. */
export function parseLock(text: string): { lock: Lock; faults: string[] } {
  const lock = new Map<string, string>()
  const faults: string[] = []
  for (const [at, line] of text.split(/\r?\n/).entries()) {
    if (line === '') continue
    const [, digest, name] = /^([0-9a-f]{64}) [ *](\S+)$/.exec(line) ?? []
    if (digest === undefined || name === undefined)
      faults.push(`${lockName}: line ${at + 1} is not "<sha256>  <type>/<file>"`)
    else if (lock.has(name)) faults.push(`${lockName}: line ${at + 1} names ${name} again`)
    else lock.set(name, digest)
  }
  return { lock, faults }
}

/** Sorted, so that two branches that add different types merge by themselves. */
export function formatLock(lock: Lock): string {
  const lines = [...lock].toSorted(([one], [other]) => (one < other ? -1 : 1))
  return lines.map(([name, digest]) => `${digest}  ${name}\n`).join('')
}
