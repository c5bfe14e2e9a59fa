import 'reflect-metadata'
import { KeyObject, webcrypto, X509Certificate } from 'node:crypto'
import * as x509 from '@peculiar/x509'

const algorithm = { name: 'ECDSA', namedCurve: 'P-256' } as const
const signingAlgorithm = { name: 'ECDSA', hash: 'SHA-256' } as const
const dayMs = 86_400_000

/** What a client shows, in PEM. */
export interface Shown {
  cert: string
  key: string
}

export interface IntermediateCa {
  /** PEM. */
  root: string
  /** The intermediate, in PEM. */
  middle: string
  /** Their private keys. */
  rootKey: KeyObject
  middleKey: KeyObject
  /** A device's certificate with the intermediate that it sends, and its key. */
  device(id: string): Promise<Shown>
  /** The same with two more in front of the intermediate: its subject and key signed by a device of the root and valid only tomorrow, and that device. */
  disguised(id: string): Promise<Shown>
  /** The same with an intermediate of the same subject and key behind it that has ended. */
  renewed(id: string): Promise<Shown>
  /** The intermediate and the one that has ended, as the root lists them. */
  rootList(
    revoked: { intermediate: boolean; ended?: boolean },
    extensions?: x509.Extension[],
  ): Promise<string>
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
  const { keys } = middle
  const ended = await sign('Middle', root, { keys, fromDays: -20, untilDays: -10 })
  const shown = async (id: string, ...sent: x509.X509Certificate[]): Promise<Shown> => {
    const device = await sign(id, middle, { isDevice: true })
    const key = KeyObject.from(device.keys.privateKey).export({ type: 'pkcs8', format: 'pem' }).toString()
    return { cert: [device.certificate, ...sent].map(pemOf).join(''), key }
  }
  return {
    root: pemOf(root.certificate),
    middle: pemOf(middle.certificate),
    rootKey: KeyObject.from(root.keys.privateKey),
    middleKey: KeyObject.from(keys.privateKey),
    device: (id) => shown(id, middle.certificate),
    renewed: (id) => shown(id, middle.certificate, ended.certificate),
    async disguised(id) {
      const accomplice = await sign('accomplice', root, { isDevice: true })
      const disguise = await sign('Middle', accomplice, { keys, fromDays: 1 })
      return shown(id, disguise.certificate, accomplice.certificate, middle.certificate)
    },
    async rootList(revoked, extensions = []) {
      const listed = [...(revoked.intermediate ? [middle] : []), ...(revoked.ended ? [ended] : [])]
      const list = await x509.X509CrlGenerator.create({
        issuer: root.certificate.subjectName,
        thisUpdate: new Date(),
        nextUpdate: new Date(Date.now() + dayMs),
        entries: listed.map(({ certificate: { serialNumber } }) => ({ serialNumber })),
        signingAlgorithm,
        signingKey: root.keys.privateKey,
        extensions,
      })
      return pemOf(list).replaceAll(' CRL-----', ' X509 CRL-----')
    },
  }
}

/** A certificate whose key is of an algorithm that there is not. */
export function strangeKey({ raw }: X509Certificate): X509Certificate {
  const der = Buffer.from(raw)
  const ecPublicKey = Buffer.from('06072a8648ce3d0201', 'hex')
  der.writeUInt8(0x7f, der.indexOf(ecPublicKey) + ecPublicKey.length - 1)
  return new X509Certificate(der)
}

interface SignOptions {
  isDevice?: boolean
  keys?: webcrypto.CryptoKeyPair
  fromDays?: number
  untilDays?: number
}

async function sign(name: string, by?: Signer, options: SignOptions = {}): Promise<Signer> {
  const { isDevice = false, fromDays = -1, untilDays = 30 } = options
  const keys = options.keys ?? (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']))
  const certificate = await x509.X509CertificateGenerator.create({
    subject: [{ CN: [name] }],
    issuer: by?.certificate.subjectName ?? [{ CN: [name] }],
    publicKey: keys.publicKey,
    signingKey: (by?.keys ?? keys).privateKey,
    serialNumber: (serials += 1).toString(16),
    signingAlgorithm,
    notBefore: new Date(Date.now() + fromDays * dayMs),
    notAfter: new Date(Date.now() + untilDays * dayMs),
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
