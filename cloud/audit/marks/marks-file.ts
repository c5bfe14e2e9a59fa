import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto'
import { open, readFile, rename, writeFile } from 'node:fs/promises'
import { z } from 'zod'
import { messageOf, TidegateError } from '../../../src/errors.ts'
import { fingerprintOf } from '../../../src/contract/signature.ts'
import type { Mark } from './marks.ts'

/**
 * Marks are a file of the auditor's own, signed with a key of the auditor's own, and never in the database: whoever can write that can
 * neither make nor alter one. The first line is what is signed, byte for byte; the second is the signature.
 */
const format = 'tidegate marks v1'

const range = z.tuple([z.number(), z.number()])
const ranges = z.object({ ranges: z.array(range), count: z.number(), unlisted: z.number() })

/** What is signed was written here: it is looked at no closer than tells a file of another version. */
const markSchema = z.object({
  gateway: z.string(),
  epoch: z.string(),
  at: z.string(),
  horizon: z.object({ era: z.number(), tx: z.string().regex(/^\d+$/) }),
  vouched: z.string(),
  states: z
    .array(
      z.object({
        state: z.looseObject({
          next: z.int().min(2),
          chain: z.string().nullable(),
          found: z.looseObject({ present: ranges, gaps: ranges, accepted: ranges }),
          checkpoints: z.looseObject({ recent: z.array(z.unknown()) }),
          says: z.array(z.unknown()),
        }),
        notes: z.int().min(0),
        accepted: z.string(),
      }),
    )
    .min(1),
})

const fileSchema = z.object({
  format: z.literal(format),
  /** The fingerprint of the key. */
  key: z.string(),
  /** RFC 3339 */
  at: z.string(),
  marks: z.array(markSchema),
})

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
    await writeFile(`${file}.pub`, publicKey.export({ type: 'spki', format: 'pem' }), { flag: 'wx' })
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
  let lines: string[]
  try {
    lines = (await readFile(file, 'utf8')).split('\n')
  } catch (cause) {
    if (mayBegin && (cause as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw unusable(
      file,
      messageOf(cause),
      'the first time, and if they are lost: --full makes new ones',
      cause,
    )
  }
  const [said = '', signature = ''] = lines
  if (!verify(null, statementOf(said), publicKey, Buffer.from(signature, 'base64url')))
    throw unusable(
      file,
      `they are not as the key ${fingerprintOf(publicKey)} has signed them`,
      'restore the file; if that is not possible, move it away, and --full makes new ones: see docs/OPERATIONS.md, Marks',
    )
  try {
    return fileSchema.parse(JSON.parse(said)).marks as unknown as Mark[]
  } catch (cause) {
    throw unusable(
      file,
      messageOf(cause),
      'they are of another version: move the file away, and --full makes new ones',
      cause,
    )
  }
}

/** Replaced whole or not at all, and on the disk when this settles. @throws TidegateError `MARKS_FILE` */
export async function writeMarks(
  file: string,
  marks: readonly Mark[],
  { privateKey, at }: { privateKey: KeyObject; at: string },
): Promise<void> {
  const said = JSON.stringify({ format, key: fingerprintOf(privateKey), at, marks })
  const signature = sign(null, statementOf(said), privateKey).toString('base64url')
  const part = `${file}.part`
  try {
    const handle = await open(part, 'w')
    try {
      await handle.writeFile(`${said}\n${signature}\n`)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(part, file)
  } catch (cause) {
    throw unusable(file, messageOf(cause), 'name a place where this user may write', cause)
  }
}

/** It begins with what it is, so that no signature of anything else is one of marks. */
function statementOf(said: string): Buffer {
  return Buffer.from(`${format}\n${said}\n`)
}

function keyUnusable(file: string, why: string, hint: string, cause?: unknown): TidegateError {
  const message = `the key ${file} cannot be made or used: ${why.split('\n')[0] ?? ''}`
  return new TidegateError('MARKS_KEY', { message, retryable: false, hint, cause })
}

function unusable(file: string, why: string, hint: string, cause?: unknown): TidegateError {
  const message = `the marks in ${file} cannot be kept or used: ${why.split('\n')[0] ?? ''}`
  return new TidegateError('MARKS_FILE', { message, retryable: false, hint, cause })
}
