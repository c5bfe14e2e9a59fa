import { type webcrypto } from 'node:crypto'
import * as x509 from '@peculiar/x509'
import { generateKeys, type KeyKind } from '../../../certs/algorithms.ts'

/** A key as a device has it, and its request, PEM. */
export async function makeSigningRequest(
  name: string,
  { kind = 'ecdsa', keys }: { kind?: KeyKind; keys?: webcrypto.CryptoKeyPair } = {},
): Promise<{ pem: string; keys: webcrypto.CryptoKeyPair }> {
  const own = keys ?? (await generateKeys(kind))
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: [{ CN: [name] }],
    keys: own,
    signingAlgorithm:
      kind === 'ecdsa' ? { name: 'ECDSA', hash: 'SHA-256' } : { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
    // Asked for, and never given.
    extensions: [new x509.BasicConstraintsExtension(true, 3, true)],
  })
  return { pem: `${request.toString('pem')}\n`, keys: own }
}
