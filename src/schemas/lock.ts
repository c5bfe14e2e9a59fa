import { createHash } from 'node:crypto'

/** Beside the types; `sha256sum -c schemas.lock` in that folder says the same as is said here. */
export const lockName = 'schemas.lock'

/** The SHA-256 of each file that is published and must not change any more, by its path from the folder of schemas. */
export type Lock = ReadonlyMap<string, string>

/**
 * In hexadecimal digits, as `sha256sum` writes it, of the text with line ends as Unix has them: those are what Git changes at a checkout on Windows,
 * and they say nothing in JSON, YAML and JavaScript.
 */
export function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(withUnixEnds(bytes)).digest('hex')
}

export function withUnixEnds(bytes: Uint8Array): Uint8Array {
  const text = Buffer.from(bytes).toString('latin1')
  return text.includes('\r\n') ? Buffer.from(text.replaceAll('\r\n', '\n'), 'latin1') : bytes
}

/** What a lock says, and which of its lines are none. */
export function parseLock(text: string): { lock: Lock; faults: string[] } {
  const lock = new Map<string, string>()
  const faults: string[] = []
  for (const [at, line] of text.split(/\r?\n/).entries()) {
    if (line === '') continue
    const [, digest, name] = /^([0-9a-f]{64}) [ *](\S+)$/.exec(line) ?? []
    if (/^(?:<{7}|={7}|>{7}|\|{7})/.test(line))
      faults.push(
        `${lockName}: line ${at + 1} is a mark of a merge: take the lines of both sides, sorted by file; where both have a line for one file, one side makes it the next version`,
      )
    else if (digest === undefined || name === undefined)
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
