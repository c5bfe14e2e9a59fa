import * as x509 from '@peculiar/x509'
import { type CertificateKind, kindOids } from '../src/tls-files.ts'
import { type Role, roles } from './register.ts'

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
