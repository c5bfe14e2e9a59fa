import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as x509 from '@peculiar/x509'
import { type Denied, nobodyDenied, parseDenied } from '../src/contract/denied.ts'
import { messageOf, TidegateError } from '../src/errors.ts'
import { readCertificates } from '../src/pem-files.ts'
import { type Authority, dayMs, type Surroundings } from './authority.ts'
import { publicMode, writeWhole } from './pem-files.ts'
import { folderOf, holderOf, readRegister, type Role, roleOf } from './register.ts'

/** The days after which whoever uses a list expects a newer one. */
const listDays = 30

export interface RevocationOptions extends Surroundings {
  /** Until the list is to be replaced; default 30. */
  days?: number
}

export interface Revocation {
  crlFile: string
  /** How many certificates are on the list. */
  listed: number
  nextUpdate: Date
  /** False when all of them were on it already and half of its days are left: it was kept as it is. */
  written: boolean
  /** `what`: the file, or whose it was where it is in no file any more. */
  certificates: { what: string; serialNumber: string; already: boolean }[]
}

/** Somebody who may have been issued several certificates. */
export interface HolderName {
  role: Exclude<Role, 'bootstrap'>
  commonName: string
}

/**
 * Puts every certificate that somebody was issued and that has not ended on the revocation list of their CA, by its register and by what
 * lies in its folder; of a device also what would get it another. Otherwise as `revokeCertificates`.
 * @throws TidegateError also TLS_FILE_MISSING: there is none
 */
export async function revokeHolders(
  authority: Authority,
  holders: readonly HolderName[],
  options: RevocationOptions = {},
): Promise<Revocation> {
  const taken: Taken[] = []
  for (const { role, commonName } of holders) {
    const files = [role, ...(role === 'device' ? (['bootstrap'] as const) : [])].map((one) =>
      join(authority.dir, folderOf(one), `${commonName}.crt`),
    )
    const registered = await registeredTo(authority, role, commonName, options.now)
    const there = files.filter((file) => existsSync(file))
    // Where there is nothing at all the one that should be there is named.
    const named = there.length === 0 && registered.length === 0 ? files.slice(0, 1) : there
    taken.push(...named.map((certFile) => ({ what: certFile, serialNumber: ownSerial(authority, certFile) })))
    taken.push(...registered)
  }
  return putOnList(authority, taken, options)
}

/**
 * Puts certificates, and all others that were issued to their holders and have not ended, on the revocation list of their CA, `ca.crl` beside
 * it, which is made when there is none and signed anew when it has changed or half of its days are over; without certificates it does no more
 * than that. What is on the list stays on it, with its date. Safe to repeat.
 * @throws TidegateError CERTS_NOT_OURS (a certificate of another CA), CERTS_LIST (what is there is no list of this CA), TLS_FILE_*, CERTS_FOLDER
 */
export async function revokeCertificates(
  authority: Authority,
  certFiles: readonly string[],
  options: RevocationOptions = {},
): Promise<Revocation> {
  const taken: Taken[] = []
  for (const certFile of certFiles) {
    taken.push({ what: certFile, serialNumber: ownSerial(authority, certFile) })
    const holder = holderOf(new x509.X509Certificate(await readFile(certFile, 'utf8')))
    if (holder) taken.push(...(await registeredTo(authority, roleOf(holder), holder.commonName, options.now)))
  }
  return putOnList(authority, taken, options)
}

interface Taken {
  what: string
  serialNumber: string
}

async function registeredTo(
  authority: Authority,
  role: Role,
  commonName: string,
  now = new Date(),
): Promise<Taken[]> {
  const register = await readRegister(authority.dir)
  return register
    .filter(
      (one) =>
        one.commonName === commonName &&
        (one.role === role || (role === 'device' && one.role === 'bootstrap')) &&
        Date.parse(one.notAfter) > now.getTime(),
    )
    .map((one) => ({ what: `${one.role} ${commonName}`, serialNumber: one.serialNumber }))
}

async function putOnList(
  authority: Authority,
  taken: readonly Taken[],
  { days = listDays, now = new Date() }: RevocationOptions,
): Promise<Revocation> {
  const crlFile = join(authority.dir, 'ca.crl')
  const before = await readList(authority)
  const entries = new Map(
    before?.entries.map(({ serialNumber, revocationDate }) => [
      serialNumber,
      { serialNumber, revocationDate },
    ]),
  )
  const distinct = [
    ...new Map(taken.toReversed().map((one) => [one.serialNumber, one])).values(),
  ].toReversed()
  const certificates = distinct.map(({ what, serialNumber }) => {
    const already = entries.has(serialNumber)
    if (!already) entries.set(serialNumber, { serialNumber, revocationDate: now })
    return { what, serialNumber, already }
  })
  const listed = entries.size
  const left = (before?.nextUpdate?.getTime() ?? 0) - now.getTime()
  if (before?.nextUpdate && certificates.every(({ already }) => already) && left > (days * dayMs) / 2)
    return { crlFile, listed, nextUpdate: before.nextUpdate, written: false, certificates }

  const nextUpdate = new Date(now.getTime() + days * dayMs)
  const list = await x509.X509CrlGenerator.create({
    issuer: authority.certificate.subjectName,
    thisUpdate: now,
    nextUpdate,
    entries: [...entries.values()],
    signingAlgorithm: authority.signingAlgorithm,
    signingKey: authority.privateKey,
    extensions: [
      await x509.AuthorityKeyIdentifierExtension.create(authority.certificate.publicKey),
      new x509.Extension(crlNumber, false, derInteger(now.getTime())),
    ],
  })
  // The library says `CRL`, and OpenSSL reads `X509 CRL` (RFC 7468, 6).
  await writeWhole(crlFile, `${list.toString('pem').replaceAll(' CRL-----', ' X509 CRL-----')}\n`, publicMode)
  return { crlFile, listed, nextUpdate, written: true, certificates }
}

/** The serial numbers on the list of a CA, lower case; none without a list. @throws TidegateError CERTS_LIST */
export async function revokedSerials(authority: Authority): Promise<ReadonlySet<string>> {
  const list = await readList(authority)
  return new Set(list?.entries.map(({ serialNumber }) => serialNumber.toLowerCase()))
}

/** Who is suspended, and not taken back for good: in the form of `mqtt.tls.denied`. */
export function suspendedFile(authority: Pick<Authority, 'dir'>): string {
  return join(authority.dir, 'denied.txt')
}

/** Nobody without the file. @throws TidegateError DENIED_INVALID, TLS_FILE_* */
export async function suspended(authority: Pick<Authority, 'dir'>): Promise<Denied> {
  const file = suspendedFile(authority)
  return existsSync(file) ? parseDenied(await readFile(file, 'utf8'), file) : nobodyDenied
}

export interface Suspended {
  commonName: string
  /** It was so before. */
  already: boolean
}

/**
 * Shuts devices out until they are resumed, whatever certificates they have: names them in `denied.txt` beside the CA, with the day and why.
 * What else stands in the file stays. Safe to repeat.
 * @throws TidegateError DENIED_INVALID: what is there, or a name, cannot be read
 */
export async function suspendDevices(
  authority: Pick<Authority, 'dir'>,
  commonNames: readonly string[],
  { now = new Date(), reason = '' }: Surroundings & { reason?: string | undefined } = {},
): Promise<Suspended[]> {
  const { devices } = await suspended(authority)
  const fresh = [...new Set(commonNames)].filter((one) => !devices.has(one))
  const why = [now.toISOString().slice(0, 10), reason.replaceAll(/\s+/g, ' ').trim()]
    .filter(Boolean)
    .join(', ')
  await rewriteSuspended(authority, (lines) => [...lines, ...fresh.map((one) => `device ${one}  # ${why}`)])
  return commonNames.map((commonName) => ({ commonName, already: devices.has(commonName) }))
}

/** Lets suspended devices in again. @throws TidegateError CERTS_REQUEST: one is not suspended; DENIED_INVALID */
export async function resumeDevices(
  authority: Pick<Authority, 'dir'>,
  commonNames: readonly string[],
): Promise<void> {
  const { devices } = await suspended(authority)
  const other = commonNames.find((one) => !devices.has(one))
  if (other !== undefined)
    throw new TidegateError('CERTS_REQUEST', {
      message: `${other} is not suspended: ${suspendedFile(authority)} does not name it`,
      retryable: false,
      hint: '`tidegate certs list` shows who is; what was revoked is not resumed: issue another certificate',
    })
  const gone = new Set(commonNames)
  await rewriteSuspended(authority, (lines) =>
    lines.filter((line) => !gone.has(/^\s*device\s+([^\s#]+)/.exec(line)?.[1] ?? '')),
  )
}

/** Its end stays its end. */
async function rewriteSuspended(
  authority: Pick<Authority, 'dir'>,
  change: (lines: string[]) => string[],
): Promise<void> {
  const file = suspendedFile(authority)
  const before = existsSync(file) ? await readFile(file, 'utf8') : 'end\n'
  const lines = before.split(/\r?\n/)
  const end = lines.findIndex((line) => line.replace(/#.*/, '').trim() === 'end')
  const text = [...change(lines.slice(0, end)), ...lines.slice(end)].join('\n')
  parseDenied(text, file)
  if (text !== before) await writeWhole(file, text, publicMode)
}

/** It must grow from list to list (RFC 5280, 5.2.3): time does. */
const crlNumber = '2.5.29.20'

function derInteger(value: number): Uint8Array {
  const hex = value.toString(16)
  const bytes = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex')
  const positive = bytes.readUInt8(0) < 0x80 ? bytes : Buffer.concat([Buffer.of(0), bytes])
  return Buffer.concat([Buffer.of(0x02, positive.length), positive])
}

function ownSerial({ certificate, certFile: caFile }: Authority, certFile: string): string {
  const [leaf] = readCertificates(certFile, 'certificates').certificates
  const [ca] = readCertificates(caFile, 'certificates').certificates
  if (leaf.verify(ca.publicKey)) return leaf.serialNumber.toLowerCase()
  throw new TidegateError('CERTS_NOT_OURS', {
    message: `${certFile} was not issued by ${certificate.subject} in ${caFile}`,
    retryable: false,
    hint: 'a CA takes back what it has issued itself: revoke it where it was issued, or name the device in mqtt.tls.denied',
  })
}

/** The list that is there. One that cannot be read is not replaced: who was on it would be let in again. */
async function readList(authority: Authority): Promise<x509.X509Crl | undefined> {
  const crlFile = join(authority.dir, 'ca.crl')
  if (!existsSync(crlFile)) return undefined
  const damaged = (cause?: unknown): TidegateError =>
    new TidegateError('CERTS_LIST', {
      message: `${crlFile} is no revocation list of the CA beside it${cause === undefined ? '' : ` (${messageOf(cause)})`}`,
      retryable: false,
      hint: 'put the last good one back; without one, move it away, and revoke again whatever was on it',
      cause,
    })
  const list = await readFile(crlFile, 'utf8')
    .then((pem) => new x509.X509Crl(pem, { berOptions: { maxNodes: Infinity } }))
    .catch((error: unknown) => {
      throw damaged(error)
    })
  if (!(await list.verify({ publicKey: authority.certificate.publicKey }))) throw damaged()
  return list
}
