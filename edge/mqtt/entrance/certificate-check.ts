import { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { type Credential, credentialOf, sentMax, sentWith } from '../trust/credential.ts'
import type { Standing } from '../trust/standing.ts'
import type { Trust } from '../trust/trust.ts'
import { claimOf, identify } from './identity.ts'
import { Refusal } from './refusal.ts'

/** Whose certificate a client has shown in its handshake, and whether we stand by it. */
export class CertificateCheck {
  readonly #trust: Pick<Trust, 'inForce'>
  readonly #standing: Pick<Standing, 'faultOf'>

  constructor(trust: Pick<Trust, 'inForce'>, standing: Pick<Standing, 'faultOf'>) {
    this.#trust = trust
    this.#standing = standing
  }

  /** @throws Refusal */
  shownBy(socket: TLSSocket): Credential {
    const certificate = socket.getPeerCertificate()
    const identity = identify(certificate, verificationOf(socket))
    if (!identity.ok) throw new Refusal(identity.reason, identity.detail, claimOf(certificate))
    const { deviceId } = identity
    return this.#vouchedFor(socket, { deviceId, leaf: new X509Certificate(certificate.raw) })
  }

  /**
   * OpenSSL has found nothing against the certificate; what its CA or we have taken back since is looked at here, for every
   * connection. Its own check of lists has one answer for a list out of date, whoever it is about, and that hides every other.
   * What a client sends with its certificate is looked at where nothing of ours that is valid leads up from it, since Node loses native memory with each
   * of these (300 KiB with eight of 10 KiB), and strangers write what they like into them.
   * @throws Refusal
   */
  #vouchedFor(
    socket: TLSSocket,
    { deviceId, leaf }: { deviceId: string; leaf: X509Certificate },
  ): Credential {
    const { authorities } = this.#trust.inForce.cas
    let credential = credentialOf({ leaf, sent: [] }, deviceId, authorities)
    let fault = this.#standing.faultOf(credential)
    if (fault?.reason === 'unknown-ca' || fault?.reason === 'expired-certificate') {
      const shown = socket.getPeerX509Certificate()
      const sent = shown ? sentWith(shown) : []
      if (sent.length > sentMax) fault.detail = `it sent more than ${sentMax} certificates with its own`
      else {
        credential = credentialOf({ leaf, sent }, deviceId, authorities)
        fault = this.#standing.faultOf(credential)
      }
    }
    if (fault) throw new Refusal(fault.reason, fault.detail, { deviceId })
    return credential
  }
}

/** What the check of the certificate has found; undefined: it was accepted. */
function verificationOf(socket: TLSSocket): string | undefined {
  // Typed as an Error, in fact a code such as CERT_HAS_EXPIRED.
  return socket.authorized ? undefined : String(socket.authorizationError)
}
