import {
  createHash,
  createPublicKey,
  type KeyObject,
  sign,
  type SignKeyObjectInput,
  verify,
} from 'node:crypto'
import { z } from 'zod'

/** What stands beside whatever is signed here. */
export interface Signed {
  /** SHA-256 of the public key's SubjectPublicKeyInfo (DER), hexadecimal. */
  key: string
  algorithm: SignatureAlgorithm
  /** Of a statement made of the rest, base64url. */
  signature: string
}

/** The members of `Signed`. */
export const signed = {
  key: z.string().regex(/^[0-9a-f]{64}$/),
  algorithm: z.enum(['ES256', 'ES384', 'EdDSA', 'PS256']),
  signature: z.string().regex(/^[A-Za-z0-9_-]{1,1400}$/),
}

/** By the names of JOSE (RFC 7518, RFC 8037). Signatures of ECDSA are of fixed length (IEEE P1363), those of RSA are PSS. */
export type SignatureAlgorithm = 'ES256' | 'ES384' | 'EdDSA' | 'PS256'

const digests: Readonly<Record<SignatureAlgorithm, string | null>> = {
  ES256: 'sha256',
  ES384: 'sha384',
  EdDSA: null,
  PS256: 'sha256',
}
/** Longer ones make signatures that no reader takes, and need a second each. */
const modulusBits = { min: 2048, max: 8192 }
const saltBytes = 32
/** RSA_PKCS1_PSS_PADDING */
const pssPadding = 6

/** What a key signs with; undefined: it is of a kind that signs no checkpoints. */
export function algorithmOf({
  asymmetricKeyType: type,
  asymmetricKeyDetails: details,
}: KeyObject): SignatureAlgorithm | undefined {
  if (type === 'ed25519') return 'EdDSA'
  if (type === 'ec' && details?.namedCurve === 'prime256v1') return 'ES256'
  if (type === 'ec' && details?.namedCurve === 'secp384r1') return 'ES384'
  const bits = details?.modulusLength ?? 0
  if (type === 'rsa' && bits >= modulusBits.min && bits <= modulusBits.max) return 'PS256'
  return undefined
}

/** Of a public key, or of the one that belongs to a private key. */
export function fingerprintOf(key: KeyObject): string {
  const publicKey = key.type === 'public' ? key : createPublicKey(key)
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex')
}

/** Signs on a thread of the pool: nothing waits for it meanwhile. */
export function signStatement(
  statement: Buffer,
  privateKey: KeyObject,
  algorithm: SignatureAlgorithm,
): Promise<string> {
  const input: SignKeyObjectInput = { key: privateKey, ...formOf(algorithm) }
  return new Promise((resolve, reject) => {
    sign(digests[algorithm], statement, input, (error, signature) => {
      if (error) reject(error)
      else resolve(signature.toString('base64url'))
    })
  })
}

/** Whether this key has signed it. By the kind of the key: what is said of it is compared. */
export function verifyStatement(
  statement: Buffer,
  { key, algorithm, signature }: Signed,
  publicKey: KeyObject,
): boolean {
  if (algorithmOf(publicKey) !== algorithm || fingerprintOf(publicKey) !== key) return false
  const input = { key: publicKey, ...formOf(algorithm) }
  return verify(digests[algorithm], statement, input, Buffer.from(signature, 'base64url'))
}

function formOf(algorithm: SignatureAlgorithm): Omit<SignKeyObjectInput, 'key'> {
  if (algorithm === 'PS256') return { padding: pssPadding, saltLength: saltBytes }
  return algorithm === 'EdDSA' ? {} : { dsaEncoding: 'ieee-p1363' }
}
