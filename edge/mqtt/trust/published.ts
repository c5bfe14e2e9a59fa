import { createHash, type KeyObject, randomBytes } from 'node:crypto'
import { open, readFile, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import {
  invalidLists,
  numberFaultOf,
  type SignedLists,
  verifyLists,
} from '../../../src/contract/published-lists.ts'
import { fingerprintOf } from '../../../src/contract/signature.ts'
import { codeOf, TidegateError } from '../../../src/errors.ts'
import type { Authorities, Authority } from './credential.ts'
import { type Denied, parseDenied } from '../../../src/contract/denied.ts'
import { parseLists, refuseOlder, type RevocationLists } from './revocation-lists.ts'

/** Lists that a CA of the listener has published to all gateways. */
export interface PublishedInForce {
  /** Of two the higher counts. */
  number: number
  issuedMs: number
  /** Of the CA that has signed them, as `fingerprintOf` has it. */
  key: string
  /** Undefined: no revocation list is among them. */
  lists: RevocationLists | undefined
  denied: Denied
  /** Of the text. */
  digest: string
}

/** What published lists are judged by: the CAs, and what is in force against them. */
export interface PublishedGrounds {
  authorities: Authorities
  lists?: RevocationLists | undefined
  denied?: Denied | undefined
  published?: PublishedInForce | undefined
}

const where = 'the published lists'

/** Where published lists are kept, as they came: whose they are is proven whenever they are read. */
export class PublishedFile {
  readonly #file: string
  #last: { source: string; lists: Promise<PublishedInForce> } | undefined

  constructor(file: string) {
    this.#file = file
  }

  /**
   * What is kept; undefined: nothing yet.
   * @throws TidegateError `LISTS_INVALID` (also: they were in force, and are gone) | `LISTS_OLDER` | `CRL_*` | `DENIED_INVALID`, and what
   * reading a file throws
   */
  async read(grounds: PublishedGrounds): Promise<PublishedInForce | undefined> {
    const json = await this.#text()
    if (json === undefined && grounds.published === undefined) return undefined
    if (json === undefined) throw invalidLists(`${this.#file} is gone, with those in force`)
    const source = sourceOf(digestOf(json), grounds)
    if (this.#last?.source !== source) {
      const lists = judgePublished(json, grounds)
      this.#last = { source, lists }
      lists.catch(() => (this.#last = undefined))
    }
    return this.#last.lists
  }

  async holds(digest: string): Promise<boolean> {
    const json = await this.#text()
    return json !== undefined && digestOf(json) === digest
  }

  async #text(): Promise<Buffer | undefined> {
    return readFile(this.#file).catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') return undefined
      throw error
    })
  }

  /**
   * Resolves when they are on the disk, synced, in the place of those before, with what they were judged to be. `judge` judges them once more
   * where they are about to take that place; what it throws leaves everything as it was.
   */
  async write(
    json: Uint8Array,
    judge: () => Promise<{ judged: PublishedInForce; grounds: PublishedGrounds }>,
  ): Promise<void> {
    const draft = `${this.#file}.${randomBytes(6).toString('hex')}.tmp`
    try {
      const file = await open(draft, 'wx', 0o600)
      try {
        await file.writeFile(json)
        await file.sync()
      } finally {
        await file.close()
      }
      const { judged, grounds } = await judge()
      await rename(draft, this.#file)
      this.#last = { source: sourceOf(judged.digest, grounds), lists: Promise.resolve(judged) }
    } catch (error) {
      await rm(draft, { force: true }).catch(() => {})
      throw error
    }
    const folder = await open(dirname(this.#file))
    try {
      await folder.sync()
    } finally {
      await folder.close()
    }
  }
}

function sourceOf(digest: string, { authorities }: PublishedGrounds): string {
  return [...authorities.keys(), digest].join()
}

/**
 * Lists as they came, proven: signed by a root CA of the listener that is itself neither revoked nor denied, whole, and not older than
 * those in force, nor another CA's while that of those in force counts.
 * @throws TidegateError `LISTS_INVALID` | `LISTS_OLDER` | `CRL_*` | `DENIED_INVALID`
 */
export async function judgePublished(json: Uint8Array, grounds: PublishedGrounds): Promise<PublishedInForce> {
  const digest = digestOf(json)
  // What is in force does not speak against itself: it is read again where the CAs have changed.
  const before = grounds.published?.digest === digest ? undefined : grounds.published
  const keys = signersOf({ ...grounds, published: before })
  const signed = verifyLists(json, keys)
  const { number, issued, crl, denied, key } = signed
  if (before) refuseAfter(signed, before, keys)
  return {
    number,
    issuedMs: Date.parse(issued),
    key,
    lists: await listsOf(crl, grounds.authorities, before?.lists),
    denied: parseDenied(denied, where),
    digest,
  }
}

/** A gateway that has taken one's lists takes no other's: which of two has the newest cannot be told by their numbers. */
function refuseAfter(signed: SignedLists, before: PublishedInForce, keys: readonly KeyObject[]): void {
  if (signed.key !== before.key) {
    // The numbers of a CA that has gone bind nobody.
    if (!keys.some((key) => fingerprintOf(key) === before.key)) return
    throw invalidLists(`key ${signed.key} has signed them, and those in force are signed by ${before.key}`)
  }
  if (signed.number <= before.number) throw older(signed.number, before)
  const fault = numberFaultOf(signed, before.number)
  if (fault !== undefined) throw invalidLists(fault)
}

function signersOf({ authorities, lists, denied, published }: PublishedGrounds): KeyObject[] {
  const isOut = ({ serial, issuers }: Authority): boolean =>
    [denied, published?.denied].some((one) => one?.serials.has(serial)) ||
    [lists, published?.lists].some((one) => issuers.some((issuer) => one?.has({ issuer, serial })))
  const roots = [...authorities.values()].flat().filter(({ isRoot }) => isRoot)
  return roots.filter((one) => !isOut(one)).map(({ certificate }) => certificate.publicKey)
}

async function listsOf(
  crl: string,
  authorities: Authorities,
  before: RevocationLists | undefined,
): Promise<RevocationLists | undefined> {
  if (crl !== '') return parseLists(crl, where, authorities, before)
  refuseOlder(new Map(), where, authorities, before)
  return undefined
}

export function digestOf(json: Uint8Array): string {
  return createHash('sha256').update(json).digest('base64')
}

function older(number: number, inForce: PublishedInForce): TidegateError {
  return new TidegateError('LISTS_OLDER', {
    message: `published lists ${number} are refused: ${inForce.number} are in force`,
    retryable: false,
    hint: 'nothing, if somebody repeats old ones; else publish them again where the newest lists.json is: it gives the next number',
  })
}
