import { readFileSync } from 'node:fs'

/**
 * Bytes that this process has caused to be sent to the disk; undefined where the system does not say (Linux does).
 * Source: proc(5), /proc/pid/io, write_bytes.
 */
export function diskWriteBytes(): number | undefined {
  try {
    const [, bytes] = /^write_bytes: (\d+)$/m.exec(readFileSync('/proc/self/io', 'utf8')) ?? []
    return bytes === undefined ? undefined : Number(bytes)
  } catch {
    return undefined
  }
}
