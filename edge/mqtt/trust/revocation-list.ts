import { messageOf, TidegateError } from '../../../src/errors.ts'
import type { Authorities } from './credential.ts'
import { plainSerial } from '../../../src/contract/serial.ts'

/** One list of one CA (RFC 5280, 5). */
export interface RevocationList {
  /** It grows from list to list (5.2.3); undefined: the CA does not count. */
  number: bigint | undefined
  thisUpdateMs: number
  /** Infinity: it does not say. */
  nextUpdateMs: number
  serials: ReadonlySet<string>
}

export const where = 'the MQTT listener (mqtt.tls.crl)'

const crlNumber = '2.5.29.20'
/** Delta lists, and those for some of the certificates: who is not on them may be revoked all the same. */
const partial: readonly string[] = ['2.5.29.27', '2.5.29.28']

/**
 * A list in PEM, and its CA: by all names under which we know the key that has signed it.
 * @throws TidegateError `CRL_CORRUPT` | `CRL_FOREIGN` | `CRL_UNSUPPORTED`
 */
export async function readList(
  pem: string,
  file: string,
  authorities: Authorities,
): Promise<{ issuers: readonly string[]; list: RevocationList }> {
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
  const unread = crl.extensions.find(({ type, critical }) => critical || partial.includes(type))
  if (unread !== undefined) throw unsupported(file, crl.issuer, unread.type)
  const issuers: string[] = []
  for (const [issuer, [authority]] of authorities) {
    const publicKey = authority?.certificate.publicKey.export({ type: 'spki', format: 'der' })
    if (publicKey === undefined) continue
    if (await crl.verify({ publicKey: new PublicKey(publicKey) }).catch(() => false)) issuers.push(issuer)
  }
  if (issuers.length === 0) throw foreign(file, crl.issuer)
  const number = crl.extensions.find(({ type }) => type === crlNumber)
  const list = {
    number: number && integerOf(Buffer.from(number.value)),
    thisUpdateMs: crl.thisUpdate.getTime(),
    nextUpdateMs: crl.nextUpdate?.getTime() ?? Infinity,
    serials: new Set(crl.entries.map(({ serialNumber }) => plainSerial(serialNumber))),
  }
  return { issuers, list }
}

/** By their numbers where both have one, else, and where these are alike, by their dates, which have no more than seconds. */
export function isOlder(one: RevocationList, other: RevocationList): boolean {
  const counted = one.number !== undefined && other.number !== undefined && one.number !== other.number
  return counted ? (one.number as bigint) < (other.number as bigint) : one.thisUpdateMs < other.thisUpdateMs
}

/** Of two lists of one CA the newer; where neither is, what is on either is revoked. */
export function newerOf(one: RevocationList, other: RevocationList): RevocationList {
  if (isOlder(one, other)) return other
  if (isOlder(other, one)) return one
  const nextUpdateMs = Math.min(one.nextUpdateMs, other.nextUpdateMs)
  return { ...one, nextUpdateMs, serials: new Set([...one.serials, ...other.serials]) }
}

/** Of a DER integer of less than 128 bytes; undefined if it is something else. */
function integerOf(der: Buffer): bigint | undefined {
  const isShort = der[0] === 0x02 && der[1] === der.length - 2 && der.length > 2
  return isShort ? BigInt(`0x${der.toString('hex', 2)}`) : undefined
}

export function corrupt(file: string, what: string): TidegateError {
  return new TidegateError('CRL_CORRUPT', {
    message: `${where}: ${file} cannot be used: ${what}`,
    retryable: false,
    hint: 'copy it again from the CA; a list in DER is made PEM by `openssl crl -inform DER -in FILE`',
  })
}

function foreign(file: string, issuer: string): TidegateError {
  return new TidegateError('CRL_FOREIGN', {
    message: `${where}: the list of ${JSON.stringify(issuer)} in ${file} was not signed by a CA of mqtt.tls.ca`,
    retryable: false,
    hint: 'take the list of a CA that is no longer trusted out of the file; a damaged list has no good signature either: copy it again',
  })
}

function unsupported(file: string, issuer: string, type: string): TidegateError {
  return new TidegateError('CRL_UNSUPPORTED', {
    message: `${where}: the list of ${JSON.stringify(issuer)} in ${file} has the extension ${type}`,
    retryable: false,
    hint: 'give the whole list of the CA: delta lists (2.5.29.27), and partial and indirect ones (2.5.29.28), are not read, nor what is critical and unknown',
  })
}
