import type { DevelopmentPki } from '../certs/development.ts'
import type { Link } from './link.ts'
import type { RabbitServer } from './servers/rabbit.ts'
import type { TlsPaths } from './stack-config.ts'

/** How each side reaches the broker. */
export interface BrokerWay {
  target: { host: string; port: number }
  uplinkUrl(link: Link): string
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
    target: { host: '127.0.0.1', port: server.tlsPort ?? 0 },
    uplinkUrl: (link) => overLink(server.tlsUrlFor(gateway), link),
    uplinkTls: tls(pki.gateway),
    cloudUrl: server.tlsUrlFor('cloud'),
    cloudTls: tls(pki.cloud),
  }
}

/** A broker we know the URL of: the link is in between only where no certificate names the host. */
export function givenBroker(url: string): BrokerWay {
  const { protocol, hostname, port } = new URL(url)
  const secure = protocol === 'amqps:'
  return {
    target: { host: hostname, port: Number(port) || (secure ? 5671 : 5672) },
    uplinkUrl: (link) => (secure ? url : overLink(url, link)),
    uplinkTls: undefined,
    cloudUrl: url,
    cloudTls: undefined,
  }
}

function overLink(url: string, link: Link): string {
  const through = new URL(url)
  through.hostname = link.host
  through.port = String(link.port)
  return through.href
}
