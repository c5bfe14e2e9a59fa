import { createHash } from 'node:crypto'
import { chownSync, lstatSync, mkdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { TidegateError } from '../../../src/errors.ts'
import { run } from '../command.ts'

export interface User {
  uid: number
  gid: number
}

/** PostgreSQL refuses to run as root, so root runs it as its package's user; undefined means as ourselves. */
export function serviceUser(): User | undefined {
  if (process.getuid?.() !== 0) return undefined
  const entry = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .find(([name]) => name === 'postgres')
  if (!entry) throw noUser()
  return { uid: Number(entry[2]), gid: Number(entry[3]) }
}

/** `dir`, owned by `owner`; or, where `owner` cannot reach it (under /root, say), a folder of the same key that it can. */
export async function folderFor(
  dir: string,
  owner: User | undefined,
  say: (line: string) => void,
): Promise<string> {
  if (!owner) return dir
  if (await canReach(dirname(dir), owner)) {
    chownSync(dir, owner.uid, owner.gid)
    return dir
  }
  const key = createHash('sha256').update(dir).digest('hex').slice(0, 12)
  const elsewhere = join(tmpdir(), `tidegate-postgres-${key}`)
  mkdirSync(elsewhere, { recursive: true, mode: 0o700 })
  // Anybody may make a folder of that name in /tmp first.
  const found = lstatSync(elsewhere)
  if (!found.isDirectory() || (found.uid !== 0 && found.uid !== owner.uid)) throw notOurs(elsewhere)
  chownSync(elsewhere, owner.uid, owner.gid)
  say(`PostgreSQL's user cannot reach ${dir}: its data goes to ${elsewhere}`)
  return elsewhere
}

/** The kernel's own answer, with every group and access list counted in. */
async function canReach(folder: string, user: User): Promise<boolean> {
  return (await run({ file: '/usr/bin/test', args: ['-x', folder], cwd: '/', ...user })).code === 0
}

function noUser(): TidegateError {
  return new TidegateError('SERVER_START_FAILED', {
    message: 'PostgreSQL does not run as root, and this machine has no user "postgres" to run it as.',
    retryable: false,
    hint: 'Run Tidegate as a user other than root, or make a system user "postgres".',
  })
}

function notOurs(folder: string): TidegateError {
  return new TidegateError('SERVER_START_FAILED', {
    message: `${folder} exists and belongs to somebody else.`,
    retryable: false,
    hint: 'Remove it, or choose a data folder that the user "postgres" can reach.',
  })
}
