import { createHash } from 'node:crypto'
import { TidegateError } from '../../../src/errors.ts'
import { readPem } from '../../../src/pem-files.ts'
import type { Authorities, Link } from './credential.ts'
import { corrupt, isOlder, newerOf, readList, type RevocationList, where } from './revocation-list.ts'

/** What the CAs of the listener have taken back. */
export interface RevocationLists {
  readonly byIssuer: ReadonlyMap<string, RevocationList>
  /** How many certificates are on them. */
  readonly revoked: number
  /** When the first of them should have been replaced, ms since the epoch; Infinity: none says. */
  readonly nextUpdateMs: number
  /** What works but should be put right; the caller logs it. */
  readonly warnings: readonly string[]
  has(link: Link): boolean
  /** Whether a CA has no list that counts now: it should have been replaced, or there is none. */
  isStale(issuer: string, nowMs: number): boolean
}

const block = /-----BEGIN X509 CRL-----[\s\S]*?-----END X509 CRL-----/g

/** The file of `mqtt.tls.crl`, parsed when it or a CA has changed, and not before: that takes long. */
export class RevocationListFile {
  readonly #file: string
  #last: { source: string; lists: Promise<RevocationLists> } | undefined

  constructor(file: string) {
    this.#file = file
  }

  /**
   * Its lists, each proven to be of a CA of the listener; of several of one CA the newest counts. A list beyond its `nextUpdate`
   * is read like any other. `inForce`: what was read before, which must not be replaced by older lists, or by none of a CA that
   * is still trusted.
   * @throws TidegateError `TLS_FILE_*` | `CRL_CORRUPT` | `CRL_FOREIGN` | `CRL_UNSUPPORTED` | `CRL_OLDER`
   */
  async read(authorities: Authorities, inForce?: RevocationLists): Promise<RevocationLists> {
    const text = readPem(this.#file, where).toString('latin1')
    const source = createHash('sha256')
      .update([...authorities.keys()].join())
      .update(text)
      .digest('base64')
    if (this.#last?.source !== source)
      this.#last = { source, lists: parseLists(text, this.#file, authorities, inForce) }
    return this.#last.lists
  }
}

/** What a text in PEM holds, as `RevocationListFile.read` has it. `file` is for messages. */
export async function parseLists(
  text: string,
  file: string,
  authorities: Authorities,
  inForce: RevocationLists | undefined,
): Promise<RevocationLists> {
  const blocks = text.match(block) ?? []
  if (blocks.length === 0) throw corrupt(file, 'it holds no revocation list in PEM')
  if (text.split('-----BEGIN').length - 1 !== blocks.length)
    throw corrupt(file, 'it is cut off, or holds something else too')
  const lists = new Map<string, RevocationList>()
  for (const one of blocks) {
    const { issuers, list } = await readList(one, file, authorities)
    for (const issuer of issuers) {
      const known = lists.get(issuer)
      lists.set(issuer, known === undefined ? list : newerOf(known, list))
    }
  }
  refuseOlder(lists, file, authorities, inForce)
  return new LoadedLists(lists, authorities, file)
}

/** @throws TidegateError `CRL_OLDER`: of a CA that is still trusted there is a newer list in force */
export function refuseOlder(
  lists: ReadonlyMap<string, RevocationList>,
  file: string,
  authorities: Authorities,
  inForce: RevocationLists | undefined,
): void {
  for (const [issuer, before] of inForce?.byIssuer ?? []) {
    if (!authorities.has(issuer)) continue
    const list = lists.get(issuer)
    if (list !== undefined && !isOlder(list, before)) continue
    const what = list === undefined ? 'no list' : 'an older list'
    throw new TidegateError('CRL_OLDER', {
      message: `${where}: ${file} has ${what} of ${nameOf(issuer, authorities)}, of which a newer one is in force`,
      retryable: false,
      hint: 'put the newest list of every CA there; if the older one is meant, start the gateway anew',
    })
  }
}

function nameOf(issuer: string, authorities: Authorities): string {
  return JSON.stringify(authorities.get(issuer)?.[0]?.certificate.subject.replaceAll('\n', ', '))
}

class LoadedLists implements RevocationLists {
  readonly revoked: number
  readonly nextUpdateMs: number
  readonly warnings: readonly string[]
  readonly byIssuer: ReadonlyMap<string, RevocationList>

  constructor(lists: ReadonlyMap<string, RevocationList>, authorities: Authorities, file: string) {
    this.byIssuer = lists
    this.revoked = [...new Set(lists.values())].reduce((sum, { serials }) => sum + serials.size, 0)
    this.nextUpdateMs = Math.min(...[...lists.values()].map(({ nextUpdateMs }) => nextUpdateMs))
    this.warnings = [...authorities.keys()]
      .filter((issuer) => !lists.has(issuer))
      .map(
        (issuer) =>
          `${file} has no list of ${nameOf(issuer, authorities)}: what it has issued cannot be revoked there, and with mqtt.tls.crlStale: refuse is not let in`,
      )
  }

  has({ issuer, serial }: Link): boolean {
    return this.byIssuer.get(issuer)?.serials.has(serial) ?? false
  }

  isStale(issuer: string, nowMs: number): boolean {
    return nowMs > (this.byIssuer.get(issuer)?.nextUpdateMs ?? -Infinity)
  }
}
