import { createPublicKey, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { algorithmOf, fingerprintOf } from '../../src/contract/signature.ts'
import { TidegateError } from '../../src/errors.ts'
import { readCertificates } from '../../src/pem-files.ts'
import type { NewKey } from './registry-postgres.ts'

/**
 * The key by which a gateway signs its ledger: that of its certificate, or a public key alone, PEM.
 * @throws TidegateError `TLS_FILE_*` | `GATEWAY_KEY`
 */
export function readKeyFile(file: string): NewKey {
  const publicKey =
    publicKeyAlone(file) ?? readCertificates(file, 'the gateway’s certificate').certificates[0].publicKey
  if (algorithmOf(publicKey) === undefined) {
    throw new TidegateError('GATEWAY_KEY', {
      message: `the key in ${file} is of a kind that signs no checkpoints`,
      retryable: false,
      hint: 'it is to be of ECDSA P-256 or P-384, Ed25519, or RSA from 2048 bits; the gateway may sign with another than that of its certificate (checkpoints.key)',
    })
  }
  return {
    fingerprint: fingerprintOf(publicKey),
    publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  }
}

/** Undefined: it is something else, or cannot be read; then it is told of as a certificate. */
function publicKeyAlone(file: string): KeyObject | undefined {
  try {
    const pem = readFileSync(file, 'latin1')
    return pem.includes('-----BEGIN PUBLIC KEY-----') ? createPublicKey(pem) : undefined
  } catch {
    return undefined
  }
}
