import { hostname } from 'node:os'
import { isIP } from 'node:net'
import { join } from 'node:path'
import type { KeyKind } from './algorithms.ts'
import { authorityDays, createAuthority, type Authority, type Surroundings } from './authority.ts'
import { type CertificateRequest, issueCertificate, type IssuedCertificate } from './issue.ts'

/** Enough to keep every thread of the key generator busy, few enough to hold no descriptor limit. */
const issuedAtOnce = 8

export interface DevelopmentPkiOptions extends Surroundings {
  /** Device IDs; each gets `devices/<id>.crt` and `.key`. */
  devices: readonly string[]
  /** The gateway's name: `gateways/<name>.crt`. */
  gateway: string
  /** DNS names and addresses of the edge listener beside localhost and this machine's own; default none. */
  hostnames?: readonly string[]
  /** Validity of the certificates, not of the CA; default as in `issueCertificate`. */
  days?: number
  /** Issue every certificate anew; the CA stays. */
  force?: boolean
  /** Of new keys, the CA's too; default ECDSA. */
  key?: KeyKind
}

export interface DevelopmentPki {
  authority: Authority
  caFile: string
  edge: IssuedCertificate
  broker: IssuedCertificate
  gateway: IssuedCertificate
  cloud: IssuedCertificate
  devices: IssuedCertificate[]
}

/**
 * Everything a Tidegate on one machine needs to speak mutual TLS, under `dir`; safe to repeat, and then only what
 * is missing, changed or nearly expired is made. docs/CERTIFICATES.md shows the layout.
 * @throws TidegateError as `createAuthority` and `issueCertificate` do
 */
export async function issueDevelopmentPki(
  dir: string,
  options: DevelopmentPkiOptions,
): Promise<DevelopmentPki> {
  const { devices, gateway, hostnames = [], ...rest } = options
  const authority = await createAuthority(dir, { ...rest, days: authorityDays })
  const here = ['localhost', '127.0.0.1']
  const server = (commonName: string, hosts: readonly string[]) =>
    issueCertificate(authority, { ...rest, commonName, kind: 'server', outDir: dir, ...splitHosts(hosts) })
  return {
    authority,
    caFile: authority.certFile,
    edge: await server('edge', [...here, '::1', hostname(), ...hostnames]),
    broker: await server('broker', here),
    gateway: await issueCertificate(authority, {
      ...rest,
      commonName: gateway,
      kind: 'client',
      role: 'gateway',
      outDir: join(dir, 'gateways'),
    }),
    cloud: await issueCertificate(authority, {
      ...rest,
      commonName: 'cloud',
      kind: 'client',
      role: 'cloud',
      outDir: dir,
    }),
    devices: await issueDevices(authority, devices, rest),
  }
}

/** Device certificates under `devices/`, several at a time, in the order asked for. */
export async function issueDevices(
  authority: Authority,
  devices: readonly string[],
  options: Pick<CertificateRequest, 'force' | 'days' | 'key' | keyof Surroundings> = {},
): Promise<IssuedCertificate[]> {
  const outDir = join(authority.dir, 'devices')
  const issued: IssuedCertificate[] = []
  const waiting = [...new Set(devices)].entries()
  // Settled, not raced: nothing is being written any more when this throws.
  const outcomes = await Promise.allSettled(
    Array.from({ length: issuedAtOnce }, async () => {
      for (const [index, commonName] of waiting) {
        issued[index] = await issueCertificate(authority, {
          ...options,
          commonName,
          kind: 'client',
          role: 'device',
          outDir,
        })
      }
    }),
  )
  const failure = outcomes.find((outcome) => outcome.status === 'rejected')
  if (failure !== undefined) throw failure.reason
  return issued
}

/** Host names as a person writes them, apart into what a certificate tells apart. */
function splitHosts(hosts: readonly string[]): { dnsNames: string[]; ipAddresses: string[] } {
  const distinct = [...new Set(hosts)]
  return {
    dnsNames: distinct.filter((host) => isIP(host) === 0),
    ipAddresses: distinct.filter((host) => isIP(host) !== 0),
  }
}
