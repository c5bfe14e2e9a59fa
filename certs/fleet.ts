import type { KeyObject } from 'node:crypto'
import { existsSync, readdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import * as x509 from '@peculiar/x509'
import type { Denied } from '../src/contract/denied.ts'
import { plainSerial } from '../src/contract/serial.ts'
import { codeOf, TidegateError } from '../src/errors.ts'
import { readCertificates } from '../src/pem-files.ts'
import { renewDays } from '../src/tls-files.ts'
import { kindOfKey } from './algorithms.ts'
import { type Authority, dayMs, type Surroundings } from './authority.ts'
import { issueCertificate } from './issue.ts'
import { folderOf, holderOf, type Role, roleOf, roles } from './register.ts'
import { revokedSerials, suspended } from './revoke.ts'
import { isKeyOf } from './pem-files.ts'
import { signRequest } from './sign.ts'

/** Where certificates lie in the folder of a CA. */
const folders = [...new Set(roles.map(folderOf))]

/** A certificate in the folder of its CA. */
export interface FleetCertificate {
  certFile: string
  commonName: string
  role: Role
  notAfter: Date
  /** Whole days, rounded down; negative once it has ended. */
  daysLeft: number
  /** Whether its key lies beside it; else it stays where its request was made. */
  keyHere: boolean
  /**
   * `pending` and `used`: a bootstrap certificate that nobody has enrolled with yet, and one that somebody has. `suspended`: the device is shut
   * out until it is resumed. `foreign`: this CA has not issued it.
   */
  state: 'pending' | 'used' | 'active' | 'ending' | 'ended' | 'suspended' | 'revoked' | 'foreign'
}

export interface FleetOptions extends Surroundings {
  /** With fewer days left a certificate is `ending`; default 30. */
  withinDays?: number
}

/** What lies in the folder of a CA, soonest to end first. What is no certificate is left out. @throws TidegateError CERTS_FOLDER, CERTS_LIST */
export async function listFleet(
  authority: Authority,
  { withinDays = renewDays, now = new Date() }: FleetOptions = {},
): Promise<FleetCertificate[]> {
  const revoked = await revokedSerials(authority)
  const denied = await suspended(authority)
  const isEnrolled = (serial: string): boolean => existsSync(join(authority.dir, 'enrolled', `${serial}.crt`))
  const [ca] = readCertificates(authority.certFile, 'the certificate authority').certificates
  const judging = { authorityKey: ca.publicKey, revoked, denied, isEnrolled, withinDays, now }
  const files = folders.flatMap((folder) => certificatesIn(join(authority.dir, folder)))
  return files
    .filter((file) => file !== authority.certFile)
    .flatMap((certFile) => readOne(certFile, judging) ?? [])
    .toSorted((one, other) => one.notAfter.getTime() - other.notAfter.getTime())
}

export interface Renewal {
  certFile: string
  /** With a new key; else for the key that its device keeps. */
  newKey: boolean
}

/**
 * Issues a certificate anew for whom it is: with a new key of the same kind where the key lies beside it, else for the same key.
 * A bootstrap certificate is not renewed: its time is what it is bounded by.
 * @throws TidegateError CERTS_REQUEST (not one of this CA, revoked, or a bootstrap), CERTS_AUTHORITY_ENDS, CERTS_FOLDER, TLS_FILE_*
 */
export async function renewCertificate(
  authority: Authority,
  certFile: string,
  options: Surroundings & { days?: number } = {},
): Promise<Renewal> {
  const [leaf] = readCertificates(certFile, 'certificates').certificates
  const certificate = new x509.X509Certificate(await readFile(certFile, 'utf8'))
  const holder = holderOf(certificate)
  if (!(await certificate.verify({ publicKey: authority.certificate.publicKey, signatureOnly: true })))
    throw notRenewed(
      `${certFile} was not issued by the CA in ${authority.dir}`,
      'renew it where it was issued; --dir names the folder of the CA',
    )
  if (holder === undefined || holder.role === 'bootstrap')
    throw notRenewed(
      `${certFile} is not a certificate that is renewed`,
      'issue another with `tidegate certs bootstrap`',
    )
  if (basename(certFile) !== `${holder.commonName}.crt`)
    throw notRenewed(
      `${certFile} is the certificate of ${holder.commonName}, and not named so`,
      `a certificate that is renewed is \`${holder.commonName}.crt\`, and its key \`${holder.commonName}.key\`: rename them, or renew where they were issued`,
    )
  if ((await revokedSerials(authority)).has(leaf.serialNumber.toLowerCase()))
    throw notRenewed(
      `${certFile} was revoked`,
      'if its holder is trusted again, issue another with --force: with a new key',
    )
  const issue = { ...options, ...holder, outDir: dirname(certFile), force: true }
  const newKey = isKeyOf(leaf.publicKey, keyFileOf(certFile))
  if (newKey) await issueCertificate(authority, { ...issue, key: kindOfKey(leaf.publicKey) ?? 'ecdsa' })
  else
    await signRequest(authority, { commonName: holder.commonName, publicKey: certificate.publicKey }, issue)
  return { certFile, newKey }
}

function notRenewed(message: string, hint: string): TidegateError {
  return new TidegateError('CERTS_REQUEST', { message, retryable: false, hint })
}

interface Judging {
  authorityKey: KeyObject
  revoked: ReadonlySet<string>
  denied: Denied
  /** Whether somebody has enrolled with a bootstrap certificate, by its serial number. */
  isEnrolled: (serial: string) => boolean
  withinDays: number
  now: Date
}

function readOne(certFile: string, judging: Judging): FleetCertificate | undefined {
  const { authorityKey, now } = judging
  try {
    const { certificates, pem } = readCertificates(certFile, 'certificates')
    const [leaf] = certificates
    const holder = holderOf(new x509.X509Certificate(pem.toString('latin1')))
    if (holder === undefined) return undefined
    const notAfter = new Date(leaf.validTo)
    const daysLeft = Math.floor((notAfter.getTime() - now.getTime()) / dayMs)
    const one = {
      commonName: holder.commonName,
      role: roleOf(holder),
      serial: leaf.serialNumber.toLowerCase(),
    }
    return {
      certFile,
      commonName: one.commonName,
      role: one.role,
      notAfter,
      daysLeft,
      keyHere: existsSync(keyFileOf(certFile)),
      state: leaf.verify(authorityKey) ? stateOf({ ...one, daysLeft }, judging) : 'foreign',
    }
  } catch {
    return undefined
  }
}

function stateOf(
  {
    commonName,
    role,
    serial,
    daysLeft,
  }: { commonName: string; role: Role; serial: string; daysLeft: number },
  { revoked, denied, isEnrolled, withinDays }: Judging,
): FleetCertificate['state'] {
  const isDevices = role === 'device' || role === 'bootstrap'
  if (revoked.has(serial)) return 'revoked'
  if ((isDevices && denied.devices.has(commonName)) || denied.serials.has(plainSerial(serial)))
    return 'suspended'
  if (daysLeft < 0) return 'ended'
  if (role === 'bootstrap') return isEnrolled(serial) ? 'used' : 'pending'
  return daysLeft < withinDays ? 'ending' : 'active'
}

function keyFileOf(certFile: string): string {
  return certFile.replace(/\.crt$/, '.key')
}

function certificatesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith('.crt'))
      .map((name) => join(folder, name))
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return []
    throw new TidegateError('CERTS_FOLDER', {
      message: `cannot read ${folder} (${codeOf(error)})`,
      retryable: false,
      hint: 'run it as the user that keeps the CA',
      cause: error,
    })
  }
}
