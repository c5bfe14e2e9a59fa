import { chmodSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort, isFree } from './ports.ts'

/** Makes a server's folder and returns its true path. Folders made on the way to it keep the usual mode. */
export function makeFolder(dir: string, mode: number): string {
  mkdirSync(dir, { recursive: true })
  chmodSync(dir, mode)
  return realpathSync(dir)
}

/** What a data folder must keep from one run to the next (its node's name, its passwords). */
export function keepState<T extends object>(dir: string, make: () => T): T {
  const file = join(dir, 'server.json')
  let kept: Partial<T> = {}
  try {
    kept = JSON.parse(readFileSync(file, 'utf8')) as Partial<T>
  } catch {
    // A new folder.
  }
  const state = { ...make(), ...kept }
  writeFileSync(file, JSON.stringify(state), { mode: 0o600 })
  return state
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
  writeFileSync(file, String(port))
  return port
}
