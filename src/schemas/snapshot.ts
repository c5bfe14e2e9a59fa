import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto'
import { z } from 'zod'
import { fingerprintOf } from '../contract/signature.ts'
import { messageOf, TidegateError } from '../errors.ts'
import { contentsOf, readPem } from '../pem-files.ts'
import { loadPrivateKey } from '../tls-files.ts'
import { digestOf, lockName } from './lock.ts'

/** All schemas of a registry at one moment, as they travel to gateways that have no way to it. */
export interface Snapshot {
  /** From 1; of two of one signer the higher counts. */
  revision: number
  /** RFC 3339; the clock of whoever made it. It is told and decides nothing. */
  madeTime: string
  /** By path from the folder, with `/`; texts in UTF-8. */
  files: ReadonlyMap<string, Uint8Array>
}

/** With who has signed it, as `fingerprintOf` has it. */
export interface OpenedSnapshot extends Snapshot {
  key: string
}

/** Of the envelope; in memory it is some four times that while it is opened. */
export const snapshotBytesMax = 16 * 1024 * 1024
/** Beyond it a list of paths alone is a burden to whoever reads it (G7). */
export const snapshotFilesMax = 10_000

/** DSSE names what is signed, so that no signature of anything else is one of schemas. */
const payloadType = 'application/vnd.tidegate.schemas+json'
const signaturesMax = 8

/** `<type>/1.json`, `<type>/upcast/1-2.yaml`: nothing that begins with a dot, so nothing that leads out of a folder. */
const pathPattern = /^(?!.*\/\.)[A-Za-z0-9_-][A-Za-z0-9._-]*(?:\/[A-Za-z0-9._-]+){0,3}$/
const pathLengthMax = 300

const payloadSchema = z.object({
  revision: z.int().min(1),
  madeTime: z.iso.datetime({ offset: true }),
  files: z
    .array(z.object({ path: z.string().max(pathLengthMax).regex(pathPattern), text: z.string() }))
    .max(snapshotFilesMax),
})

const envelopeSchema = z.object({
  payloadType: z.string(),
  payload: z.string(),
  signatures: z
    .array(z.object({ keyid: z.string().optional(), sig: z.string().max(200) }))
    .min(1)
    .max(signaturesMax),
})

/**
 * The name of a state of the registry, the same on every side: SHA-256, hexadecimal, of sorted lines `<sha256>  <path>` of its files, each with
 * line ends as Unix has them (`digestOf`). `schemas.lock` is left out: it says nothing that is not said by the files, and a registry in a
 * database has none.
 */
export function digestOfFiles(files: ReadonlyMap<string, Uint8Array>): string {
  const lines = [...files]
    .filter(([path]) => path !== lockName)
    .toSorted(([one], [other]) => (one < other ? -1 : 1))
    .map(([path, bytes]) => `${digestOf(bytes)}  ${path}\n`)
  return createHash('sha256').update(lines.join('')).digest('hex')
}

/**
 * A snapshot in an envelope as DSSE v1 has it (secure-systems-lab/dsse, protocol 1.0), with one signature of Ed25519 (RFC 8032). The same
 * snapshot and key make the same bytes.
 * @throws TidegateError `SCHEMA_SNAPSHOT`: a file is no text in UTF-8 or has a path that is none, it is larger than gateways take, or the key
 *   is of another kind
 */
export function signSnapshot({ revision, madeTime, files }: Snapshot, key: KeyObject): Uint8Array {
  if (key.type !== 'private' || key.asymmetricKeyType !== 'ed25519') throw wrongKind(key)
  const sorted = [...files].toSorted(([one], [other]) => (one < other ? -1 : 1))
  const said = {
    revision,
    madeTime,
    files: sorted.map(([path, bytes]) => ({ path, text: textOf(path, bytes) })),
  }
  const { error } = payloadSchema.safeParse(said)
  if (error) throw unusable(faultsOf(error), makeHint)
  const payload = Buffer.from(JSON.stringify(said))
  const signature = { keyid: fingerprintOf(key), sig: sign(null, signed(payload), key).toString('base64') }
  const envelope = Buffer.from(
    `${JSON.stringify({ payloadType, payload: payload.toString('base64'), signatures: [signature] })}\n`,
  )
  if (envelope.length > snapshotBytesMax)
    throw unusable(`it would have ${envelope.length} bytes, and ${snapshotBytesMax} are the most`, makeHint)
  return envelope
}

/**
 * What one of these keys has signed. Nothing of the payload is read before that is proven.
 * @throws TidegateError `SCHEMA_SNAPSHOT`: it is too large, cut, altered, or signed by nobody of these
 */
export function openSnapshot(bytes: Uint8Array, keys: readonly KeyObject[]): OpenedSnapshot {
  if (bytes.length > snapshotBytesMax)
    throw unusable(`${bytes.length} bytes, and ${snapshotBytesMax} are the most`)
  const envelope = parsed(bytes, envelopeSchema, 'the envelope')
  if (envelope.payloadType !== payloadType)
    throw unusable(`its payload is ${envelope.payloadType.slice(0, 100)}, not ${payloadType}`)
  const payload = Buffer.from(envelope.payload, 'base64')
  const statement = signed(payload)
  const signer = keys.find((key) =>
    envelope.signatures.some(({ sig }) => verifies(key, statement, Buffer.from(sig, 'base64'))),
  )
  if (signer === undefined) throw unsigned(envelope.signatures, keys)
  return { ...saidIn(payload), key: fingerprintOf(signer) }
}

/**
 * What an envelope says that somebody hands over who is known otherwise, for whoever stores it and has no key: nobody is to judge events by it.
 * @throws TidegateError `SCHEMA_SNAPSHOT`
 */
export function unprovenSnapshot(bytes: Uint8Array): Snapshot {
  if (bytes.length > snapshotBytesMax)
    throw unusable(`${bytes.length} bytes, and ${snapshotBytesMax} are the most`)
  const { payload } = parsed(bytes, envelopeSchema, 'the envelope')
  return saidIn(Buffer.from(payload, 'base64'))
}

function saidIn(payload: Buffer): Snapshot {
  const { revision, madeTime, files } = parsed(payload, payloadSchema, 'the payload')
  const byPath = new Map(files.map(({ path, text }) => [path, Buffer.from(text)]))
  if (byPath.size < files.length) throw unusable('it names a file twice')
  return { revision, madeTime, files: byPath }
}

/**
 * The key that signs snapshots, of a file as `openssl genpkey -algorithm ed25519` writes it.
 * @throws TidegateError `TLS_FILE_*` | `SCHEMA_SNAPSHOT` it is of another kind
 */
export function loadSnapshotSigner(file: string): KeyObject {
  const key = loadPrivateKey(file, 'the signing of snapshots')
  if (key.asymmetricKeyType !== 'ed25519') throw wrongKind(key, file)
  return key
}

/**
 * The keys that snapshots may be signed with: of each file all public keys in it, as `openssl pkey -pubout` writes them.
 * @throws TidegateError `TLS_FILE_*` | `SCHEMA_SNAPSHOT` a file holds none of Ed25519
 */
export function loadSnapshotKeys(files: readonly string[]): KeyObject[] {
  return files.flatMap((file) => {
    const pem = readPem(file, 'the keys of snapshots')
    const blocks = pem.toString('latin1').match(publicKeyBlock) ?? []
    if (blocks.length === 0)
      throw unusable(`${file} holds ${contentsOf(pem)}, and no public key`, publicKeyHint)
    return blocks.map((block) => publicKeyOf(block, file))
  })
}

const publicKeyBlock = /-----BEGIN PUBLIC KEY-----[\s\S]*?-----END PUBLIC KEY-----/g

function publicKeyOf(block: string, file: string): KeyObject {
  let key: KeyObject
  try {
    key = createPublicKey(block)
  } catch (error) {
    throw unusable(`a public key in ${file} is damaged (${messageOf(error)})`, publicKeyHint)
  }
  if (key.asymmetricKeyType !== 'ed25519') throw wrongKind(key, file)
  return key
}

/** The bytes that are signed: DSSE's pre-authentication encoding. */
function signed(payload: Buffer): Buffer {
  return Buffer.concat([
    Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${payload.length} `),
    payload,
  ])
}

/** Of a private key its public half is asked: whoever signs may look at what it has made. */
function verifies(key: KeyObject, statement: Buffer, signature: Buffer): boolean {
  if (key.asymmetricKeyType !== 'ed25519') return false
  return verify(null, statement, key.type === 'public' ? key : createPublicKey(key), signature)
}

function unsigned(
  signatures: readonly { keyid?: string | undefined }[],
  keys: readonly KeyObject[],
): TidegateError {
  const named = signatures.map(({ keyid }) => (keyid ?? 'no name').slice(0, 64))
  const known = keys.map(fingerprintOf)
  const altered = named.find((name) => known.includes(name))
  return altered === undefined
    ? unusable(
        `it is signed by a key that is not known here (${named.join(', ')})`,
        'add the public key of whoever signs to the keys, or fetch a snapshot that one of them has signed',
      )
    : unusable(`it was altered after key ${altered} had signed it`)
}

function parsed<T>(bytes: Uint8Array, schema: z.ZodType<T>, what: string): T {
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch (error) {
    throw unusable(`${what} is no JSON (${messageOf(error)}): it is cut, or another file`)
  }
  const { data, error } = schema.safeParse(value)
  if (error) throw unusable(`${what}: ${faultsOf(error)}`)
  return data
}

const faultsShown = 3

function faultsOf({ issues }: z.ZodError): string {
  return issues
    .slice(0, faultsShown)
    .map(({ path, message }) => `${path.join('.')}: ${message}`)
    .join('; ')
}

function textOf(path: string, bytes: Uint8Array): string {
  try {
    // A mark at its beginning stays: what is opened has the bytes that were signed.
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw unusable(`${path} is no text in UTF-8`, makeHint)
  }
}

const copyHint = 'copy or fetch it again from where it was made; see docs/SCHEMAS.md, Snapshot'
const makeHint = 'correct the files, or leave out what gateways do not need; see docs/SCHEMAS.md, Snapshot'
const keyHint = 'sign with a key that `openssl genpkey -algorithm ed25519` has made'

const publicKeyHint =
  'name the public key, as `openssl pkey -in FILE -pubout` writes it; the private one stays with whoever signs'

function wrongKind({ type, asymmetricKeyType }: KeyObject, file?: string): TidegateError {
  const which = file === undefined ? `a ${type} key` : `the key of ${file}`
  return unusable(
    `${which} is of the kind ${String(asymmetricKeyType)}, not one of Ed25519 that signs`,
    keyHint,
  )
}

function unusable(what: string, hint = copyHint): TidegateError {
  return new TidegateError('SCHEMA_SNAPSHOT', {
    message: `schema snapshot: ${what}`,
    retryable: false,
    hint,
  })
}
