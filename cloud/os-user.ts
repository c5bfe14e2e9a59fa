import { userInfo } from 'node:os'

/** The user that this process runs as. Where the system has no entry for it, as containers with arbitrary users have none, `uid-4711`. Never throws. */
export function userName(look: () => { username: string } = userInfo): string {
  try {
    return look().username
  } catch {
    return `uid-${userId()}`
  }
}

/** Its number; -1 where the system has none. */
export function userId(): number {
  return process.getuid?.() ?? -1
}
