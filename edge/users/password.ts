import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto'

/** A password as it is kept: not the password, and dear to guess. */
export interface PasswordHash {
  /** scrypt's parameters (RFC 7914): N = 2^ln, and what it takes is 128·N·r bytes, and p times the work. */
  ln: number
  r: number
  p: number
  salt: Buffer
  digest: Buffer
}

/** OWASP's Password Storage Cheat Sheet has these for 16 MiB; a gateway may have little memory, and is never made to take more at a time. */
const parameters = { ln: 14, r: 8, p: 5 } as const
const saltBytes = 16
const digestBytes = 32

/** Nothing dearer is computed, whoever has written it into the file: 32 MiB, and four times the work of our own (G7). */
const memoryBytesMax = 32 * 2 ** 20
const workMax = 4 * 2 ** parameters.ln * parameters.r * parameters.p
/** Nothing cheaper is believed to be meant. */
const lnMin = 13

/** The PHC string format: `$scrypt$ln=14,r=8,p=5$<salt>$<digest>`, both in base64 without padding. */
export function writeHash({ ln, r, p, salt, digest }: PasswordHash): string {
  return `$scrypt$ln=${ln},r=${r},p=${p}$${unpadded(salt)}$${unpadded(digest)}`
}

/** undefined: it is none, or one that would take too much time or memory, or too little. */
export function readHash(text: string): PasswordHash | undefined {
  const [, ...parts] =
    /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{43})$/.exec(
      text,
    ) ?? []
  const [ln, r, p, salt, digest] = parts
  if (salt === undefined || digest === undefined) return undefined
  const hash = { ln: Number(ln), r: Number(r), p: Number(p) }
  const isInBounds =
    hash.ln >= lnMin &&
    hash.r >= 1 &&
    hash.p >= 1 &&
    memoryOf(hash) <= memoryBytesMax &&
    2 ** hash.ln * hash.r * hash.p <= workMax
  if (!isInBounds) return undefined
  return { ...hash, salt: Buffer.from(salt, 'base64'), digest: Buffer.from(digest, 'base64') }
}

/** What a password is, in the hash's terms. Off the event loop, on one of libuv's threads. */
export type Derive = (password: Buffer, hash: Omit<PasswordHash, 'digest'>) => Promise<Buffer>

export const derive: Derive = (password, { ln, r, p, salt }) => {
  const maxmem = memoryOf({ ln, r }) + 2 ** 20
  return new Promise((resolve, reject) => {
    scrypt(password, salt, digestBytes, { N: 2 ** ln, r, p, maxmem }, (error, digest) => {
      if (error) reject(error)
      else resolve(digest)
    })
  })
}

export async function hashPassword(password: string): Promise<string> {
  const hash = { ...parameters, salt: randomBytes(saltBytes) }
  return writeHash({ ...hash, digest: await derive(Buffer.from(password), hash) })
}

/** In a time that tells nothing of where they differ. */
export function isSame(one: Buffer, other: Buffer): boolean {
  return one.length === other.length && timingSafeEqual(one, other)
}

/** What an unknown device's password is held against: as dear as every other, and nobody's. */
export function nobodysHash(): PasswordHash {
  return { ...parameters, salt: randomBytes(saltBytes), digest: randomBytes(digestBytes) }
}

/** Crockford's base 32: no letter that is taken for a digit, nothing that needs shift on any keyboard. */
const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'
const passwordLength = 26

/** A password of 130 random bits, 30 characters with its dashes: Tasmota takes 32. */
export function makePassword(): string {
  const letters = [...randomBytes(passwordLength)].map((byte) => alphabet[byte & 31]).join('')
  return letters.replace(/^(.{5})(.{5})(.{5})(.{5})/, '$1-$2-$3-$4-')
}

function memoryOf({ ln, r }: { ln: number; r: number }): number {
  return 128 * 2 ** ln * r
}

function unpadded(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '')
}
