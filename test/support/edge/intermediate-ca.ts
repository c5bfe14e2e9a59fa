import 'reflect-metadata'
import { KeyObject, webcrypto } from 'node:crypto'
import * as x509 from '@peculiar/x509'

const algorithm = { name: 'ECDSA', namedCurve: 'P-256' } as const
const signingAlgorithm = { name: 'ECDSA', hash: 'SHA-256' } as const
const dayMs = 86_400_000

export interface IntermediateCa {
  /** PEM. */
  root: string
  /** A device's certificate with the intermediate that it sends, and its key. */
  device(id: string): Promise<{ cert: string; key: string }>
  /** PEM: what the root has taken back; `extensions` as they are. */
  rootList(revoked: { intermediate: boolean }, extensions?: x509.Extension[]): Promise<string>
}

interface Signer {
  certificate: x509.X509Certificate
  keys: webcrypto.CryptoKeyPair
}

let serials = 0x4000

/** A root with an intermediate below it, which the CA of `certs/` cannot have. */
export async function createIntermediateCa(): Promise<IntermediateCa> {
  const root = await sign('Root')
  const middle = await sign('Middle', root)
  return {
    root: pemOf(root.certificate),
    async device(id) {
      const { certificate, keys } = await sign(id, middle, { isDevice: true })
      const key = KeyObject.from(keys.privateKey).export({ type: 'pkcs8', format: 'pem' }).toString()
      return { cert: pemOf(certificate) + pemOf(middle.certificate), key }
    },
    async rootList({ intermediate }, extensions = []) {
      const list = await x509.X509CrlGenerator.create({
        issuer: root.certificate.subjectName,
        thisUpdate: new Date(),
        nextUpdate: new Date(Date.now() + dayMs),
        entries: intermediate ? [{ serialNumber: middle.certificate.serialNumber }] : [],
        signingAlgorithm,
        signingKey: root.keys.privateKey,
        extensions,
      })
      return pemOf(list).replaceAll(' CRL-----', ' X509 CRL-----')
    },
  }
}

async function sign(name: string, by?: Signer, { isDevice = false } = {}): Promise<Signer> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const certificate = await x509.X509CertificateGenerator.create({
    subject: [{ CN: [name] }],
    issuer: by?.certificate.subjectName ?? [{ CN: [name] }],
    publicKey: keys.publicKey,
    signingKey: (by?.keys ?? keys).privateKey,
    serialNumber: (serials += 1).toString(16),
    signingAlgorithm,
    notBefore: new Date(Date.now() - dayMs),
    notAfter: new Date(Date.now() + 30 * dayMs),
    extensions: isDevice
      ? [new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth])]
      : [
          new x509.BasicConstraintsExtension(true, undefined, true),
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        ],
  })
  return { certificate, keys }
}

function pemOf(part: x509.X509Certificate | x509.X509Crl): string {
  return `${part.toString('pem')}\n`
}
