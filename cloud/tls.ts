import { loadTlsFiles, readCertificates } from '../src/tls-files.ts'
import type { CloudConfig } from './config.ts'
import type { AmqpTls } from './amqp/connection-rabbit.ts'

/** Reads and proves the files of `broker.tls`. @throws TidegateError `TLS_*` */
export function loadBrokerTls(tls: CloudConfig['broker']['tls']): AmqpTls | undefined {
  if (tls === undefined) return undefined
  const where = 'the broker connection (broker.tls)'
  if (tls.cert === undefined || tls.key === undefined) return { ca: readCertificates(tls.ca, where).pem }
  const { ca, cert, key } = loadTlsFiles({
    caFile: tls.ca,
    certFile: tls.cert,
    keyFile: tls.key,
    where,
    kind: 'client',
  })
  return { ca, cert, key }
}
