import { readFile, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { deviceIdPattern } from '../../src/contract/event.ts'
import { codeOf, messageOf, TidegateError } from '../../src/errors.ts'
import { writeDurably } from '../../src/files/durable-file.ts'
import { readHash } from './password.ts'

/** The hash of each device's password, as it stands in the file (`mqtt.users`). */
export type Users = ReadonlyMap<string, string>

/** Some 30,000 devices; to read them takes some 50 ms (G7). */
const fileBytesMax = 4 << 20
const faultsShownMax = 5

const heading = `# Devices that show a password, and its hash. Written by \`tidegate devices\`; a running gateway reads it again by itself.
`

/** @throws TidegateError `USERS_UNREADABLE` | `USERS_INVALID` */
export async function loadUsers(file: string): Promise<Users> {
  let text: string
  try {
    const status = await stat(file)
    if (!status.isFile()) throw new Error('it is no regular file')
    if (status.size > fileBytesMax) throw invalid(`${file} is larger than ${fileBytesMax} bytes`)
    text = await readFile(file, 'utf8')
  } catch (cause) {
    if (cause instanceof TidegateError) throw cause
    throw unreadable(file, cause)
  }
  return parseUsers(text, file)
}

/**
 * One device a line, `ID: hash`, and comments from a `#` at the beginning of a line on: a part of YAML, in which nothing is nested and
 * nothing is ambiguous. `file` is for messages.
 * @throws TidegateError `USERS_INVALID`
 */
export function parseUsers(text: string, file: string): Users {
  if (text === '') throw invalid(`${file} is empty, not even its heading is there`)
  const users = new Map<string, string>()
  const faults: string[] = []
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue
    const [, name = '', hash = ''] = /^([^:\s]+):[ \t]+(['"]?\$\S+?['"]?)[ \t]*$/.exec(line) ?? []
    const unquoted = hash.replace(/^(['"])(.*)\1$/, '$2')
    const fault = faultOf(name, unquoted, users)
    if (fault === undefined) users.set(name, unquoted)
    else faults.push(`line ${index + 1}: ${fault}`)
  }
  if (faults.length === 0) return users
  const more = faults.length > faultsShownMax ? `, and ${faults.length - faultsShownMax} more` : ''
  throw invalid(`${file} has lines that cannot be read: ${faults.slice(0, faultsShownMax).join(', ')}${more}`)
}

/** Nothing of the line is shown: it may hold a password that somebody took for what belongs there. */
function faultOf(name: string, hash: string, users: Users): string | undefined {
  if (name === '') return 'it is not `ID: hash`'
  if (!deviceIdPattern.test(name)) return 'what stands before its colon is no device ID'
  if (users.has(name)) return `${name} is there twice`
  if (readHash(hash) === undefined) return `what ${name} has is no hash of scrypt that is within bounds`
  return undefined
}

/**
 * Written whole and on the disk, for its owner alone, before it takes the place of the other.
 * @throws TidegateError `USERS_UNWRITABLE`
 */
export async function saveUsers(file: string, users: Users): Promise<void> {
  const lines = [...users]
    .toSorted(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, hash]) => `${name}: ${hash}\n`)
  try {
    await writeDurably(file, heading + lines.join(''), (draft) => keepOwner(file, draft))
  } catch (cause) {
    throw unwritable(file, cause)
  }
}

/** Root may write it for the user that the gateway runs as, who must still be able to read it; a new one is its folder's owner's. */
async function keepOwner(
  file: string,
  handle: { chown(uid: number, gid: number): Promise<void> },
): Promise<void> {
  if (process.getuid?.() !== 0) return
  const { uid, gid } = await stat(file).catch((error: unknown) => {
    if (codeOf(error) !== 'ENOENT') throw error
    return stat(dirname(file))
  })
  await handle.chown(uid, gid)
}

function invalid(message: string): TidegateError {
  return new TidegateError('USERS_INVALID', {
    message,
    retryable: false,
    hint: 'each line is `ID: hash` as `tidegate devices` writes it: mend or remove the line, or give the device a password anew',
  })
}

function unreadable(file: string, cause: unknown): TidegateError {
  return new TidegateError('USERS_UNREADABLE', {
    message: `the devices of ${file} cannot be read: ${messageOf(cause)}`,
    retryable: false,
    hint: '`tidegate devices add NAME --users FILE` makes it; the user that the gateway runs as must be able to read it',
    cause,
  })
}

function unwritable(file: string, cause: unknown): TidegateError {
  return new TidegateError('USERS_UNWRITABLE', {
    message: `the devices of ${file} cannot be written: ${messageOf(cause)}; it is as it was`,
    retryable: false,
    hint: 'its folder must be there, be writable by this user and have room: run it as the user that the gateway runs as, or as root',
    cause,
  })
}
