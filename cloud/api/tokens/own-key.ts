import { createHash, createPublicKey, type KeyObject } from 'node:crypto'
import { TidegateError } from '../../../src/errors.ts'
import { loadPrivateKey } from '../../../src/tls-files.ts'

/** What our own tokens are signed with. */
export interface OwnKey {
  privateKey: KeyObject
  publicKey: KeyObject
  /** Its thumbprint (RFC 7638), the `kid` of what it signs. */
  kid: string
}

/** Reads an EC key on P-256, PEM. @throws TidegateError `TLS_FILE_*`, `API_KEY_UNFIT` */
export function loadOwnKey(file: string): OwnKey {
  return ownKeyOf(loadPrivateKey(file, 'tokens of the API (api.tokens.key)'), file)
}

/** @throws TidegateError `API_KEY_UNFIT` */
export function ownKeyOf(privateKey: KeyObject, file: string): OwnKey {
  if (privateKey.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw new TidegateError('API_KEY_UNFIT', {
      message: `tokens of the API are signed by ES256, and ${file} holds no key on the curve P-256`,
      retryable: false,
      hint: `(umask 077 && openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ${file})`,
    })
  }
  const publicKey = createPublicKey(privateKey)
  const { crv, kty, x, y } = publicKey.export({ format: 'jwk' })
  const kid = createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url')
  return { privateKey, publicKey, kid }
}
