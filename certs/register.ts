import { appendFile, mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as x509 from '@peculiar/x509'
import { z } from 'zod'
import { codeOf, TidegateError } from '../src/errors.ts'
import { type CertificateKind, kindOids } from '../src/tls-files.ts'
import { publicMode } from './pem-files.ts'

/** Who a certificate is for. Of a client certificate, it is written into it as `urn:tidegate:<role>:<name>`. */
export const roles = ['device', 'gateway', 'cloud', 'bootstrap', 'server'] as const
export type Role = (typeof roles)[number]

/** Where the certificate of somebody lies in the folder of its CA. */
export function folderOf(role: Role): string {
  return { device: 'devices', gateway: 'gateways', cloud: '.', server: '.', bootstrap: 'bootstrap' }[role]
}

/** What a certificate is to say. */
export interface Holder {
  /** Becomes the subject CN and the file's name; for a device it is the device ID. */
  commonName: string
  kind: CertificateKind
  /** For client certificates; default `device`. */
  role?: Exclude<Role, 'server'>
  dnsNames?: readonly string[]
  ipAddresses?: readonly string[]
}

export function roleOf({ kind, role = 'device' }: Holder): Role {
  return kind === 'server' ? 'server' : role
}

/** For whom a certificate is, by what Tidegate writes into one; undefined: for nobody that Tidegate knows. */
export function holderOf(certificate: x509.X509Certificate): Holder | undefined {
  const commonNames = certificate.subjectName.getField('CN')
  const [commonName] = commonNames
  const usages = certificate.getExtension(x509.ExtendedKeyUsageExtension)?.usages ?? []
  const names = certificate.getExtension(x509.SubjectAlternativeNameExtension)?.names.toJSON() ?? []
  if (commonName === undefined || commonNames.length > 1) return undefined
  const values = (type: 'dns' | 'ip'): string[] =>
    names.flatMap((name) => (name.type === type ? [name.value] : []))
  const dnsNames = values('dns')
  const ipAddresses = values('ip')
  if (usages.includes(kindOids.server)) return { commonName, kind: 'server', dnsNames, ipAddresses }
  const role = roles.find((one) =>
    names.some(({ type, value }) => type === 'url' && value === `urn:tidegate:${one}:${commonName}`),
  )
  if (role === undefined || role === 'server' || !usages.includes(kindOids.client)) return undefined
  return { commonName, kind: 'client', role, dnsNames, ipAddresses }
}

const entrySchema = z.object({
  /** Hexadecimal, lower case. */
  serialNumber: z.string(),
  role: z.enum(roles),
  commonName: z.string(),
  /** ISO 8601. */
  issuedAt: z.string(),
  notAfter: z.string(),
})

/** One certificate of a CA. */
export type Issued = z.infer<typeof entrySchema>

/**
 * Every certificate that a CA has issued, a line of JSON each, in `issued.jsonl` beside it: a file of a certificate is replaced when it is
 * issued anew, and the one before is as good until it ends or is taken back.
 */
export function registerFile(dir: string): string {
  return join(dir, 'issued.jsonl')
}

/** Before the certificate is given away. @throws TidegateError CERTS_FOLDER */
export async function register(dir: string, issued: Issued): Promise<void> {
  const file = registerFile(dir)
  try {
    await mkdir(dir, { recursive: true })
    // Its own line, also behind one that a crash has cut off.
    await appendFile(file, `\n${JSON.stringify(issued)}\n`, { mode: publicMode, flush: true })
  } catch (error) {
    throw new TidegateError('CERTS_FOLDER', {
      message: `cannot write ${file} (${codeOf(error)})`,
      retryable: false,
      hint: 'choose a folder this user may write to (--dir) on a disk that has room',
      cause: error,
    })
  }
}

/** In order of issue; empty for a CA that has issued nothing since there are registers. A certificate whose line a crash has cut off was given to nobody. */
export async function readRegister(dir: string): Promise<Issued[]> {
  const text = await readFile(registerFile(dir), 'utf8').catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return ''
    throw error
  })
  return text.split('\n').flatMap((line) => {
    try {
      return [entrySchema.parse(JSON.parse(line))]
    } catch {
      return []
    }
  })
}
