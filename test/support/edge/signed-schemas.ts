import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { onTestFinished } from 'vitest'
import { signSnapshot } from '../../../src/schemas/snapshot.ts'

export const climate = 'com.acme.climate'

/** Which maximum each version of climate has; the file of its `type.yaml` besides. */
export function schemaFiles(maximums: Record<number, number>, typeYaml?: string): Map<string, string> {
  const files = Object.entries(maximums).map(([version, maximum]): [string, string] => [
    `${climate}/${version}.json`,
    JSON.stringify({ type: 'object', properties: { t: { type: 'number', maximum } }, required: ['t'] }),
  ])
  return new Map([...files, ...(typeYaml === undefined ? [] : [[`${climate}/type.yaml`, typeYaml] as const])])
}

export interface Signer {
  /** The PEM file of its public key, and that of its private one. */
  publicFile: string
  privateFile: string
  sign(revision: number, files: ReadonlyMap<string, string>): Uint8Array
}

/** Folders, keys and snapshots of one test, gone when it is over. */
export function schemaPlace() {
  const dir = mkdtempSync(join(tmpdir(), 'tidegate-snapshot-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  const at = (name: string): string => join(dir, name)
  return {
    at,
    write(name: string, content: string | Uint8Array): string {
      mkdirSync(dirname(at(name)), { recursive: true })
      writeFileSync(at(name), content)
      return at(name)
    },
    signer(name: string): Signer {
      const { publicKey, privateKey } = generateKeyPairSync('ed25519')
      writeFileSync(at(`${name}.pub`), pem(publicKey, 'spki'))
      writeFileSync(at(`${name}.pem`), pem(privateKey, 'pkcs8'), { mode: 0o600 })
      return {
        publicFile: at(`${name}.pub`),
        privateFile: at(`${name}.pem`),
        sign: (revision, files) =>
          signSnapshot(
            {
              revision,
              madeTime: '2026-11-28T00:00:00Z',
              files: new Map([...files].map(([path, text]) => [path, Buffer.from(text)])),
            },
            privateKey,
          ),
      }
    },
  }
}

function pem(key: KeyObject, type: 'spki' | 'pkcs8'): string {
  return String(key.export({ format: 'pem', type } as { format: 'pem'; type: 'spki' }))
}
