import 'reflect-metadata'
import { createPrivateKey, createPublicKey, type KeyObject, webcrypto } from 'node:crypto'
import type * as x509 from '@peculiar/x509'

/** What a key is of. ECDSA: what every TLS 1.2 stack speaks, and small enough for a sensor. RSA: for stacks that know nothing else. */
export type KeyKind = 'ecdsa' | 'rsa'

/** Of new keys. Both are worth 128 bits (NIST SP 800-57 part 1, table 2). */
const keyAlgorithms = {
  ecdsa: { name: 'ECDSA', namedCurve: 'P-256' },
  rsa: {
    name: 'RSASSA-PKCS1-v1_5',
    modulusLength: 3072,
    publicExponent: Uint8Array.of(1, 0, 1),
    hash: 'SHA-256',
  },
} as const

const signingAlgorithms = {
  ecdsa: { name: 'ECDSA', hash: 'SHA-256' },
  rsa: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
} as const

export type SigningAlgorithm = (typeof signingAlgorithms)[KeyKind]

/** A key pair that can be written to a file. */
export function generateKeys(kind: KeyKind): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(keyAlgorithms[kind], true, ['sign', 'verify'])
}

/** As WebCrypto wants it, from PEM. @throws Error on a key that Tidegate does not sign with */
export async function importSigningKeys(
  pem: string,
): Promise<webcrypto.CryptoKeyPair & { signingAlgorithm: SigningAlgorithm }> {
  const key = createPrivateKey(pem)
  const kind = kindOfKey(key)
  if (kind === undefined) throw new Error('neither ECDSA P-256 nor RSA of 2048 bits or more')
  const algorithm = kind === 'ecdsa' ? keyAlgorithms.ecdsa : signingAlgorithms.rsa
  return {
    signingAlgorithm: signingAlgorithms[kind],
    privateKey: await webcrypto.subtle.importKey(
      'pkcs8',
      key.export({ type: 'pkcs8', format: 'der' }),
      algorithm,
      false,
      ['sign'],
    ),
    publicKey: await webcrypto.subtle.importKey(
      'spki',
      createPublicKey(key).export({ type: 'spki', format: 'der' }),
      algorithm,
      true,
      ['verify'],
    ),
  }
}

/** Undefined: a key that is too weak, or of a kind that not every TLS stack speaks. */
export function kindOfKey(key: KeyObject): KeyKind | undefined {
  const { namedCurve, modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {}
  if (key.asymmetricKeyType === 'ec')
    return namedCurve === 'prime256v1' || namedCurve === 'secp384r1' ? 'ecdsa' : undefined
  // FIPS 186-5, A.1.1: an exponent that is odd, and larger than 2^16.
  const isStrong = modulusLength >= 2048 && modulusLength <= 8192 && publicExponent > 65_536n
  return key.asymmetricKeyType === 'rsa' && isStrong && publicExponent % 2n === 1n ? 'rsa' : undefined
}

/** The key of a certificate or of a request. */
export function publicKeyOf({ publicKey }: { publicKey: x509.PublicKey }): KeyObject {
  return createPublicKey({ key: Buffer.from(publicKey.rawData), type: 'spki', format: 'der' })
}
