import { loadTlsFiles, readCertificates } from '../src/tls-files.ts'
import type { AmqpTls } from './amqp/connection-rabbit.ts'
import type { CloudConfig } from './config.ts'

export interface CloudTls {
  broker: AmqpTls | undefined
}

/** The certificates of the broker connection, proven before anything is opened. @throws TidegateError `TLS_*` */
export function loadCloudTls({ broker }: CloudConfig): CloudTls {
  const { tls } = broker
  if (tls === undefined) return { broker: undefined }
  const where = 'the broker connection (broker.tls)'
  if (tls.cert === undefined || tls.key === undefined)
    return { broker: { ca: readCertificates(tls.ca, where).pem } }
  const { ca, cert, key } = loadTlsFiles({
    caFile: tls.ca,
    certFile: tls.cert,
    keyFile: tls.key,
    where,
    kind: 'client',
  })
  return { broker: { ca, cert, key } }
}
