import { createPrivateKey, createPublicKey, type KeyObject, randomBytes, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { codeOf, TidegateError } from '../src/errors.ts'

export const publicMode = 0o644
export const secretMode = 0o600

/** Writes the file whole or not at all: a reader, or a crash, never sees half a key. Throws CERTS_FOLDER. */
export async function writeWhole(file: string, contents: string, mode: number): Promise<void> {
  const draft = `${file}.${randomBytes(6).toString('hex')}.tmp`
  try {
    await mkdir(dirname(file), { recursive: true })
    await writeFile(draft, contents, { mode, flag: 'wx', flush: true })
    await rename(draft, file)
  } catch (error) {
    await rm(draft, { force: true }).catch(() => undefined)
    throw new TidegateError('CERTS_FOLDER', {
      message: `cannot write ${file} (${codeOf(error)})`,
      retryable: false,
      hint: 'choose a folder this user may write to (--dir) on a disk that has room',
      cause: error,
    })
  }
}

/** Whether a file holds the private key of a public one. False for what cannot be read. */
export function isKeyOf(publicKey: KeyObject, keyFile: string): boolean {
  try {
    return createPublicKey(createPrivateKey(readFileSync(keyFile))).equals(publicKey)
  } catch {
    return false
  }
}

/**
 * Puts a certificate for a key that is kept elsewhere in the place of another. A key that was made here for the one before is removed, for it
 * belongs to nothing any more; whatever else is called so is somebody's, and stays. Throws CERTS_FOLDER.
 */
export async function replaceCertificate(certFile: string, pem: string): Promise<void> {
  const keyFile = certFile.replace(/\.crt$/, '.key')
  const before = publicKeyIn(certFile)
  await writeWhole(certFile, pem, publicMode)
  if (before && isKeyOf(before, keyFile) && !new X509Certificate(pem).publicKey.equals(before))
    await rm(keyFile, { force: true })
}

function publicKeyIn(certFile: string): KeyObject | undefined {
  try {
    return new X509Certificate(readFileSync(certFile)).publicKey
  } catch {
    return undefined
  }
}
