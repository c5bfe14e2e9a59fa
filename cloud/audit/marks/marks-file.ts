import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, type FileHandle, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { z } from 'zod'
import { messageOf, TidegateError } from '../../../src/errors.ts'
import { fingerprintOf } from '../../../src/contract/signature.ts'
import type { Mark } from './marks.ts'

/**
 * Marks are a file of the auditor's own, signed with a key of the auditor's own, and never in the database: whoever can write that can
 * neither make nor alter one. The first line says what it is, each one behind it is a mark, and the last one is the signature of the
 * SHA-256 of all lines before it: nothing is ever held as one text, however many there are.
 */
const format = 'tidegate marks v2'

const range = z.tuple([z.number(), z.number()])
const ranges = z.object({ ranges: z.array(range), count: z.number(), unlisted: z.number() })

/** What is signed was written here: it is looked at no closer than tells a file of another version. */
const markSchema = z.object({
  gateway: z.string(),
  epoch: z.string(),
  at: z.string(),
  horizon: z.object({ era: z.number(), since: z.string(), tx: z.string().regex(/^\d+$/) }),
  vouched: z.string(),
  retired: z.string(),
  head: z.object({ sequence: z.int().min(1), chain: z.string().nullable() }),
  states: z.array(
    z.object({
      state: z.looseObject({
        next: z.int().min(2),
        chain: z.string().nullable(),
        found: z.looseObject({
          present: ranges,
          retired: ranges,
          retiredRead: z.int(),
          gaps: ranges,
          accepted: ranges,
        }),
        checkpoints: z.looseObject({ recent: z.array(z.unknown()) }),
        says: z.array(z.unknown()),
        doubts: z.int().min(0),
      }),
      notes: z.string(),
      accepted: z.string(),
    }),
  ),
})

const headerSchema = z.object({
  format: z.literal(format),
  /** The fingerprint of the key. */
  key: z.string(),
  /** RFC 3339 */
  at: z.string(),
})
const signatureStart = 'signature '

/** The auditor's key: the public half verifies marks, and only the private one makes them. */
export interface MarksKey {
  publicKey: KeyObject
  privateKey: KeyObject | undefined
}

/** The private key in `file`, for its owner alone, and the public one in `file`.pub. @throws TidegateError `MARKS_KEY`, also where there is one already */
export async function makeMarksKey(file: string): Promise<string> {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  try {
    await writeFile(file, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600, flag: 'wx' })
    try {
      await writeFile(`${file}.pub`, publicKey.export({ type: 'spki', format: 'pem' }), { flag: 'wx' })
    } catch (error) {
      // Half of a pair is none.
      await rm(file, { force: true })
      throw error
    }
  } catch (cause) {
    throw keyUnusable(
      file,
      messageOf(cause),
      'name a file that is not there yet, in a folder where this user may write',
      cause,
    )
  }
  return fingerprintOf(publicKey)
}

/** @throws TidegateError `MARKS_KEY` */
export async function readMarksKey(file: string): Promise<MarksKey> {
  const hint = 'make one with tidegate audit key FILE; FILE.pub is enough to verify'
  let key: MarksKey
  try {
    const pem = await readFile(file, 'utf8')
    const privateKey = pem.includes('PRIVATE KEY') ? createPrivateKey(pem) : undefined
    key = { publicKey: createPublicKey(privateKey ?? pem), privateKey }
  } catch (cause) {
    throw keyUnusable(file, messageOf(cause), hint, cause)
  }
  if (key.publicKey.asymmetricKeyType !== 'ed25519')
    throw keyUnusable(file, `it is of the kind ${key.publicKey.asymmetricKeyType}, not ed25519`, hint)
  return key
}

/**
 * `mayBegin`: a file that is not there has no marks.
 * @throws TidegateError `MARKS_FILE`: it is not there, not of this version, or not what this key has signed.
 */
export async function readMarks(
  file: string,
  { publicKey }: MarksKey,
  { mayBegin }: { mayBegin: boolean },
): Promise<Mark[]> {
  let read: ReadMarks
  try {
    read = await readLines(file)
  } catch (cause) {
    if (mayBegin && (cause as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw unusable(
      file,
      messageOf(cause),
      'the first time, and if they are lost: --full makes new ones',
      cause,
    )
  }
  const { digest, signature, marks, misread } = read
  if (!verify(null, statementOf(digest), publicKey, Buffer.from(signature, 'base64url')))
    throw unusable(
      file,
      `they are not as the key ${fingerprintOf(publicKey)} has signed them`,
      'restore the file; if that is not possible, or it is of another version, move it away, and --full makes new ones: see docs/OPERATIONS.md, Marks',
    )
  if (misread !== undefined)
    throw unusable(
      file,
      messageOf(misread),
      'they are of another version: move the file away, and --full makes new ones',
      misread,
    )
  return marks
}

interface ReadMarks {
  marks: Mark[]
  digest: Buffer
  signature: string
  /** Why a line that may well be signed is none of this version. */
  misread: unknown
}

async function readLines(file: string): Promise<ReadMarks> {
  const hash = createHash('sha256')
  const marks: Mark[] = []
  let signature = ''
  let misread: unknown
  let count = 0
  for await (const line of linesOf(file)) {
    if (signature !== '') hash.update(signature)
    signature = line.startsWith(signatureStart) ? line.slice(signatureStart.length) : ''
    if (signature !== '') continue
    hash.update(`${line}\n`)
    try {
      if (count++ === 0) headerSchema.parse(JSON.parse(line))
      else marks.push(markSchema.parse(JSON.parse(line)) as unknown as Mark)
    } catch (error) {
      misread ??= error
    }
  }
  return { marks, digest: hash.digest(), signature, misread }
}

/** Ended by `\n` alone: a reason may have other line breaks in it. */
async function* linesOf(file: string): AsyncGenerator<string> {
  let pieces: string[] = []
  for await (const chunk of createReadStream(file, 'utf8')) {
    const [first = '', ...more] = String(chunk).split('\n')
    pieces.push(first)
    for (const piece of more) {
      yield pieces.join('')
      pieces = [piece]
    }
  }
  const rest = pieces.join('')
  if (rest !== '') yield rest
}

let parts = 0

/** Replaced whole or not at all, and on the disk when this settles. @throws TidegateError `MARKS_FILE` */
export async function writeMarks(
  file: string,
  marks: Iterable<Mark>,
  { privateKey, at }: { privateKey: KeyObject; at: string },
): Promise<void> {
  const part = `${file}.${process.pid}-${parts++}.part`
  try {
    const handle = await open(part, 'wx', 0o600)
    try {
      await writeLines(handle, marks, { privateKey, at })
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(part, file)
    await syncFolder(dirname(file))
  } catch (cause) {
    await rm(part, { force: true })
    throw unusable(
      file,
      messageOf(cause),
      'name a place where this user may write and there is room; the marks of before are as they were',
      cause,
    )
  }
}

const chunkLength = 1_000_000

async function writeLines(
  handle: FileHandle,
  marks: Iterable<Mark>,
  { privateKey, at }: { privateKey: KeyObject; at: string },
): Promise<void> {
  const hash = createHash('sha256')
  let chunk = `${JSON.stringify({ format, key: fingerprintOf(privateKey), at })}\n`
  const flush = async (): Promise<void> => {
    hash.update(chunk)
    await handle.writeFile(chunk)
    chunk = ''
  }
  for (const mark of marks) {
    chunk += `${JSON.stringify(mark)}\n`
    if (chunk.length >= chunkLength) await flush()
  }
  await flush()
  const signature = sign(null, statementOf(hash.digest()), privateKey).toString('base64url')
  await handle.writeFile(`${signatureStart}${signature}\n`)
}

/** A file that was renamed is there after a power cut. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** It begins with what it is, so that no signature of anything else is one of marks. */
function statementOf(digest: Buffer): Buffer {
  return Buffer.from(`${format}\n${digest.toString('hex')}\n`)
}

function keyUnusable(file: string, why: string, hint: string, cause?: unknown): TidegateError {
  const message = `the key ${file} cannot be made or used: ${why.split('\n')[0] ?? ''}`
  return new TidegateError('MARKS_KEY', { message, retryable: false, hint, cause })
}

function unusable(file: string, why: string, hint: string, cause?: unknown): TidegateError {
  const message = `the marks in ${file} cannot be kept or used: ${why.split('\n')[0] ?? ''}`
  return new TidegateError('MARKS_FILE', { message, retryable: false, hint, cause })
}
