import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { codeOf, messageOf, TidegateError } from '../../src/errors.ts'
import { freePort, isFree } from './ports.ts'

/** Makes a server's folder and returns its true path. Folders made on the way to it keep the usual mode. */
export function makeFolder(dir: string, mode: number): string {
  mkdirSync(dir, { recursive: true })
  chmodSync(dir, mode)
  return realpathSync(dir)
}

/**
 * What a data folder must keep from one run to the next (its node's name, its passwords). Written when there is
 * something new to keep, and whole or not at all: data whose password is lost is lost as well.
 * @throws TidegateError `SERVER_STATE_LOST`
 */
export function keepState<T extends object>(dir: string, make: () => T): T {
  const file = join(dir, 'server.json')
  const kept = readState<T>(file)
  const state = { ...make(), ...kept }
  if (Object.keys(state).some((key) => !(key in kept))) writeWhole(file, JSON.stringify(state))
  return state
}

function readState<T extends object>(file: string): Partial<T> {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Partial<T>
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return {}
    throw new TidegateError('SERVER_STATE_LOST', {
      message: `${file}, with the passwords of the data beside it, cannot be read (${messageOf(cause)})`,
      retryable: false,
      hint: `restore it; or remove ${dirname(file)}, and start with empty data`,
      cause,
    })
  }
}

/** Survives a full disk and a power cut as it was, or as it is to be. */
function writeWhole(file: string, text: string): void {
  const draft = `${file}.tmp`
  writeFileSync(draft, text, { mode: 0o600, flush: true })
  renameSync(draft, file)
  const folder = openSync(dirname(file), 'r')
  fsyncSync(folder)
  closeSync(folder)
}

/** The port of the last run where it is still free, so that a bookmark survives a restart; else another. */
export async function keepPort(dir: string, name: string): Promise<number> {
  const file = join(dir, `${name}.port`)
  let kept = 0
  try {
    kept = Number(readFileSync(file, 'utf8'))
  } catch {
    // A new folder.
  }
  const port = kept > 0 && (await isFree(kept)) ? kept : await freePort()
  if (port !== kept) writeFileSync(file, String(port))
  return port
}
