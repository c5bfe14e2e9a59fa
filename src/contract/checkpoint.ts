import {
  createHash,
  createPublicKey,
  type KeyObject,
  sign,
  type SignKeyObjectInput,
  verify,
} from 'node:crypto'
import { z } from 'zod'

/** The type of a gateway's signature of its own ledger: an event of that ledger like any other (G8). */
export const checkpointType = 'dev.tidegate.checkpoint'

/** No checkpoint stands further behind the sequence that it signs: how many chain values its reader keeps (G7). */
export const checkpointDistanceMax = 65_536

/** The head of a ledger's chain as it was at a time: what is signed. */
export interface ChainHead {
  epoch: string
  sequence: number
  /** The chain value of that sequence. */
  chain: string
  /** RFC 3339; the gateway's clock at signing. */
  time: string
  /** A gateway at work signs again after so many events, at the latest. */
  everyEvents: number
  /** The fingerprint of the key before this one, in the first checkpoint after the key has changed. */
  formerKey?: string
}

/** Data of a `dev.tidegate.checkpoint` event. */
export interface Checkpoint extends ChainHead {
  /** SHA-256 of the public key's SubjectPublicKeyInfo (DER), hexadecimal. */
  key: string
  algorithm: SignatureAlgorithm
  /** Over `statementOf`, base64url. */
  signature: string
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

/** The bytes that are signed: they begin with what they are, so that no signature of anything else is one of a checkpoint. */
export function statementOf(gateway: string, head: ChainHead): Buffer {
  const { epoch, sequence, chain, time, everyEvents, formerKey = '-' } = head
  const lines = ['tidegate checkpoint v1', gateway, epoch, sequence, chain, time, everyEvents, formerKey, '']
  return Buffer.from(lines.join('\n'))
}

/** Signs on a thread of the pool: nothing waits for it meanwhile. */
export function signHead(
  gateway: string,
  head: ChainHead,
  privateKey: KeyObject,
  algorithm: SignatureAlgorithm,
): Promise<string> {
  const input: SignKeyObjectInput = { key: privateKey, ...formOf(algorithm) }
  return new Promise((resolve, reject) => {
    sign(digests[algorithm], statementOf(gateway, head), input, (error, signature) => {
      if (error) reject(error)
      else resolve(signature.toString('base64url'))
    })
  })
}

/** Whether this key has signed it, for this gateway. By the kind of the key: what the checkpoint says of it is compared. */
export function verifyCheckpoint(gateway: string, checkpoint: Checkpoint, publicKey: KeyObject): boolean {
  const algorithm = algorithmOf(publicKey)
  if (algorithm === undefined || algorithm !== checkpoint.algorithm) return false
  if (fingerprintOf(publicKey) !== checkpoint.key) return false
  const signature = Buffer.from(checkpoint.signature, 'base64url')
  return verify(
    digests[algorithm],
    statementOf(gateway, checkpoint),
    { key: publicKey, ...formOf(algorithm) },
    signature,
  )
}

function formOf(algorithm: SignatureAlgorithm): Omit<SignKeyObjectInput, 'key'> {
  if (algorithm === 'PS256') return { padding: pssPadding, saltLength: saltBytes }
  return algorithm === 'EdDSA' ? {} : { dsaEncoding: 'ieee-p1363' }
}

const fingerprint = z.string().regex(/^[0-9a-f]{64}$/)

/** Whatever a line of the statement holds has no line break in it. */
export const checkpointSchema: z.ZodType<Checkpoint> = z.object({
  epoch: z.string().regex(/^[0-9A-HJKMNP-TV-Z]{26}$/),
  sequence: z.int().min(1),
  chain: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
  time: z.iso.datetime(),
  everyEvents: z.int().min(1),
  formerKey: fingerprint.exactOptional(),
  key: fingerprint,
  algorithm: z.enum(['ES256', 'ES384', 'EdDSA', 'PS256']),
  signature: z.string().regex(/^[A-Za-z0-9_-]{1,1400}$/),
})

/** The data of a checkpoint event, or undefined if this version cannot read it. */
export function readCheckpoint(data: unknown): Checkpoint | undefined {
  return checkpointSchema.safeParse(data).data
}
