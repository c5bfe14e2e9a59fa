import { messageOf, TidegateError } from '../../../src/errors.ts'
import { readPem } from '../../../src/pem-files.ts'
import type { Authorities, Link } from './credential.ts'
import { plainSerial } from './serial.ts'

/** What the CAs of the listener have taken back (RFC 5280, 5). */
export interface RevocationLists {
  /** How many certificates are on them. */
  readonly revoked: number
  /** When the first of them should have been replaced, ms since the epoch; Infinity: none says. */
  readonly nextUpdateMs: number
  /** What works but should be put right; the caller logs it. */
  readonly warnings: readonly string[]
  has(link: Link): boolean
  /** Whether a CA's list should have been replaced by now. A CA without a list is told of when it is read. */
  isStale(issuer: string, nowMs: number): boolean
}

interface List {
  thisUpdateMs: number
  nextUpdateMs: number
  serials: ReadonlySet<string>
}

const where = 'the MQTT listener (mqtt.tls.crl)'
const block = /-----BEGIN X509 CRL-----[\s\S]*?-----END X509 CRL-----/g

/**
 * The lists of a PEM file, each proven to be of a CA of the listener; of several of one CA the newest counts. A list beyond its
 * `nextUpdate` is read like any other.
 * @throws TidegateError `TLS_FILE_MISSING` | `TLS_FILE_UNREADABLE` | `TLS_FILE_TOO_LARGE` | `CRL_CORRUPT` | `CRL_FOREIGN` | `CRL_UNSUPPORTED`
 */
export async function loadRevocationLists(file: string, authorities: Authorities): Promise<RevocationLists> {
  const text = readPem(file, where).toString('latin1')
  const blocks = text.match(block) ?? []
  if (blocks.length === 0) throw corrupt(file, 'it holds no revocation list in PEM')
  if (text.split('-----BEGIN').length - 1 !== blocks.length)
    throw corrupt(file, 'it is cut off, or holds something else too')
  const lists = new Map<string, List>()
  for (const one of blocks) {
    const { issuers, list } = await readList(one, file, authorities)
    for (const issuer of issuers) {
      const known = lists.get(issuer)
      if (known === undefined || known.thisUpdateMs < list.thisUpdateMs) lists.set(issuer, list)
    }
  }
  return new LoadedLists(lists, authorities, file)
}

class LoadedLists implements RevocationLists {
  readonly revoked: number
  readonly nextUpdateMs: number
  readonly warnings: readonly string[]
  readonly #lists: ReadonlyMap<string, List>

  constructor(lists: ReadonlyMap<string, List>, authorities: Authorities, file: string) {
    this.#lists = lists
    this.revoked = [...new Set(lists.values())].reduce((sum, { serials }) => sum + serials.size, 0)
    this.nextUpdateMs = Math.min(...[...lists.values()].map(({ nextUpdateMs }) => nextUpdateMs))
    this.warnings = [...authorities]
      .filter(([key]) => !lists.has(key))
      .map(
        ([, [authority]]) =>
          `${file} has no list of ${JSON.stringify(authority?.certificate.subject.replaceAll('\n', ', '))}: what it has issued cannot be revoked there`,
      )
  }

  has({ issuer, serial }: Link): boolean {
    return this.#lists.get(issuer)?.serials.has(serial) ?? false
  }

  isStale(issuer: string, nowMs: number): boolean {
    return nowMs > (this.#lists.get(issuer)?.nextUpdateMs ?? Infinity)
  }
}

/** A list and its CA, by all names under which we know its key. */
async function readList(
  pem: string,
  file: string,
  authorities: Authorities,
): Promise<{ issuers: string[]; list: List }> {
  // Loaded where there is a list to read: a gateway without one starts without it.
  await import('reflect-metadata')
  const { PublicKey, X509Crl } = await import('@peculiar/x509')
  const parsed = (): InstanceType<typeof X509Crl> => {
    try {
      const crl = new X509Crl(pem, { berOptions: { maxNodes: Infinity } })
      // Read when it is asked for.
      void crl.entries
      return crl
    } catch (error) {
      throw corrupt(file, `a list in it is damaged (${messageOf(error)})`)
    }
  }
  const crl = parsed()
  const critical = crl.extensions.find((extension) => extension.critical)
  if (critical !== undefined) throw unsupported(file, crl.issuer, critical.type)
  const issuers: string[] = []
  for (const [issuer, [authority]] of authorities) {
    const publicKey = authority?.certificate.publicKey.export({ type: 'spki', format: 'der' })
    if (publicKey === undefined) continue
    if (await crl.verify({ publicKey: new PublicKey(publicKey) }).catch(() => false)) issuers.push(issuer)
  }
  const serials = new Set(crl.entries.map(({ serialNumber }) => plainSerial(serialNumber)))
  const nextUpdateMs = crl.nextUpdate?.getTime() ?? Infinity
  const list = { thisUpdateMs: crl.thisUpdate.getTime(), nextUpdateMs, serials }
  if (issuers.length > 0) return { issuers, list }
  throw new TidegateError('CRL_FOREIGN', {
    message: `${where}: the list of ${JSON.stringify(crl.issuer)} in ${file} was not signed by a CA of mqtt.tls.ca`,
    retryable: false,
    hint: 'take the list of a CA that is no longer trusted out of the file; a damaged list has no good signature either: copy it again',
  })
}

function corrupt(file: string, what: string): TidegateError {
  return new TidegateError('CRL_CORRUPT', {
    message: `${where}: ${file} cannot be used: ${what}`,
    retryable: false,
    hint: 'copy it again from the CA; a list in DER is made PEM by `openssl crl -inform DER -in FILE`',
  })
}

function unsupported(file: string, issuer: string, type: string): TidegateError {
  return new TidegateError('CRL_UNSUPPORTED', {
    message: `${where}: the list of ${JSON.stringify(issuer)} in ${file} has the critical extension ${type}`,
    retryable: false,
    hint: 'give the whole list of the CA: delta lists (2.5.29.27), and partial and indirect ones (2.5.29.28), are not read',
  })
}
