import { createHash, randomBytes } from 'node:crypto'
import { open, readFile, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { verifyLists } from '../../../src/contract/published-lists.ts'
import { codeOf, TidegateError } from '../../../src/errors.ts'
import type { Authorities } from './credential.ts'
import { type Denied, parseDenied } from './denied.ts'
import { parseLists, type RevocationLists } from './revocation-lists.ts'

/** Lists that a CA of the listener has published to all gateways. */
export interface PublishedInForce {
  /** Of two the higher counts. */
  number: number
  issuedMs: number
  /** Undefined: no revocation list is among them. */
  lists: RevocationLists | undefined
  denied: Denied
  /** Of the text. */
  digest: string
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
   * @throws TidegateError `LISTS_INVALID` | `LISTS_OLDER` | `CRL_*` | `DENIED_INVALID`, and what reading a file throws
   */
  async read(authorities: Authorities, inForce?: PublishedInForce): Promise<PublishedInForce | undefined> {
    const json = await readFile(this.#file).catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') return undefined
      throw error
    })
    if (json === undefined) return undefined
    const source = [...authorities.keys(), digestOf(json)].join()
    if (this.#last?.source !== source)
      this.#last = { source, lists: judgePublished(json, authorities, inForce) }
    return this.#last.lists
  }

  /** Resolves when they are on the disk, synced, in the place of those before. */
  async write(json: Uint8Array): Promise<void> {
    const draft = `${this.#file}.${randomBytes(6).toString('hex')}.tmp`
    try {
      const file = await open(draft, 'wx', 0o600)
      try {
        await file.writeFile(json)
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(draft, this.#file)
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

/**
 * Lists as they came, proven: signed by a CA of the listener, whole, and not older than those in force.
 * @throws TidegateError `LISTS_INVALID` | `LISTS_OLDER` | `CRL_*` | `DENIED_INVALID`
 */
export async function judgePublished(
  json: Uint8Array,
  authorities: Authorities,
  inForce: PublishedInForce | undefined,
): Promise<PublishedInForce> {
  const keys = [...authorities.values()].flatMap((some) => some.map((one) => one.certificate.publicKey))
  const { number, issued, crl, denied } = verifyLists(json, keys)
  const digest = digestOf(json)
  if (inForce && (number < inForce.number || (number === inForce.number && digest !== inForce.digest)))
    throw older(number, inForce)
  return {
    number,
    issuedMs: Date.parse(issued),
    lists: crl === '' ? undefined : await parseLists(crl, where, authorities, inForce?.lists),
    denied: parseDenied(denied, where),
    digest,
  }
}

function digestOf(json: Uint8Array): string {
  return createHash('sha256').update(json).digest('base64')
}

function older(number: number, inForce: PublishedInForce): TidegateError {
  return new TidegateError('LISTS_OLDER', {
    message: `published lists ${number} are refused: ${inForce.number} are in force`,
    retryable: false,
    hint: 'nothing, if somebody repeats old ones; else publish them again where the newest lists.json is: it gives the next number',
  })
}
