import { type ClientTls, loadClientTls } from '../src/settings/client-tls.ts'
import type { AmqpTls } from './amqp/connection-rabbit.ts'
import type { CloudConfig } from './config.ts'

export interface CloudTls {
  broker: AmqpTls | undefined
}

/** What the broker sees, and whom its connection trusts. @throws TidegateError `TLS_*` */
export function loadBrokerTls({ broker: { tls } }: CloudConfig): ClientTls | undefined {
  return tls && loadClientTls(tls, { where: 'the broker connection (broker.tls)' })
}

/** The certificates of the broker connection, proven before anything is opened. @throws TidegateError `TLS_*` */
export function loadCloudTls(config: CloudConfig): CloudTls {
  const tls = loadBrokerTls(config)
  return { broker: tls && { ca: tls.ca, ...(tls.pair && { cert: tls.pair.cert, key: tls.pair.key }) } }
}
