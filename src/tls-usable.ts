import { createSecureContext, type SecureContextOptions } from 'node:tls'
import { messageOf, TidegateError } from './errors.ts'

/** What Node reads OpenSSL may still refuse, and it would do so in the middle of a handshake. @throws TidegateError TLS_UNUSABLE */
export function proveUsable(files: Pick<SecureContextOptions, 'ca' | 'cert' | 'key'>, where: string): void {
  try {
    createSecureContext(files)
  } catch (cause) {
    throw new TidegateError('TLS_UNUSABLE', {
      message: `${where}: OpenSSL does not take the files (${messageOf(cause)})`,
      retryable: false,
      hint: 'most often a key is too short, or a signature too old: ECDSA P-256 or RSA of 2048 bits, and SHA-256',
      cause,
    })
  }
}
