import type { DevelopmentPki } from '../../certs/development.ts'
import type { Link } from './link.ts'
import type { RabbitServer } from '../servers/obtain.ts'
import type { TlsPaths } from './config.ts'

/** How each side reaches the broker. */
export interface BrokerWay {
  /** Where the link to be put in the way of the uplink leads; undefined: none can be. */
  linkTo: { host: string; port: number } | undefined
  /** Without a link. */
  uplinkUrl: string
  uplinkTls: TlsPaths | undefined
  cloudUrl: string
  cloudTls: TlsPaths | undefined
}

export function privateBroker(server: RabbitServer, pki: DevelopmentPki, gateway: string): BrokerWay {
  const tls = (pair: { certFile: string; keyFile: string }): TlsPaths => ({
    ca: pki.caFile,
    cert: pair.certFile,
    key: pair.keyFile,
  })
  return {
    linkTo: { host: '127.0.0.1', port: server.tlsPort ?? 0 },
    uplinkUrl: server.tlsUrlFor(gateway),
    uplinkTls: tls(pki.gateway),
    cloudUrl: server.tlsUrlFor('cloud'),
    cloudTls: tls(pki.cloud),
  }
}

/** A broker we know the URL of. */
export function givenBroker(url: string): BrokerWay {
  const { hostname, port } = new URL(url)
  return {
    linkTo: passesLink(url) ? { host: hostname, port: Number(port) || 5672 } : undefined,
    uplinkUrl: url,
    uplinkTls: undefined,
    cloudUrl: url,
    cloudTls: undefined,
  }
}

/** The certificate of an amqps:// broker names its host: over a link on loopback it would be refused. */
export function passesLink(givenUrl: string): boolean {
  return !/^amqps:/i.test(givenUrl)
}

export function overLink(url: string, link: Link): string {
  const through = new URL(url)
  through.hostname = link.host
  through.port = String(link.port)
  return through.href
}
