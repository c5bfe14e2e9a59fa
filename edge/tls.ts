import type { Clock } from '../src/clock.ts'
import type { Logger } from '../src/log.ts'
import { allOf } from '../src/settings/all-of.ts'
import { isLoopback } from '../src/listen.ts'
import { type ClientTls, type KeyPair, loadClientTls, loadTlsFiles, type TlsFiles } from '../src/tls-files.ts'
import type { EdgeConfig } from './config.ts'

export interface EdgeTls {
  mqtt: TlsFiles
  uplink: ClientTls | undefined
  /** Days left of each certificate, now. */
  daysLeft: () => Record<string, number>
}

const dayMs = 86_400_000

/** The certificate that devices see. @throws TidegateError `TLS_*` */
export function loadMqttTls({ mqtt: { tls } }: EdgeConfig, now: Date): TlsFiles {
  const { ca: caFile, cert: certFile, key: keyFile } = tls
  return loadTlsFiles({
    caFile,
    certFile,
    keyFile,
    where: 'the MQTT listener (mqtt.tls)',
    kind: 'server',
    now,
  })
}

/** What the broker sees, and whom the uplink trusts. @throws TidegateError `TLS_*` */
export function loadUplinkTls({ uplink: { tls } }: EdgeConfig, now: Date): ClientTls | undefined {
  return tls && loadClientTls(tls, { where: 'the uplink (uplink.tls)', now })
}

/** What is to be said of a development CA where others reach the listener: its key lies beside it, and signs any device. */
export function developmentCaWarning({ mqtt }: EdgeConfig, { issuer }: TlsFiles): string | undefined {
  const open = !isLoopback(mqtt.host) && issuer.includes('Tidegate development CA')
  return open ? 'of a development CA, for trying out: see docs/CERTIFICATES.md' : undefined
}

/** Both ends' certificates, proven before anything is opened. @throws TidegateError `TLS_*`, `START_FAULTS` */
export async function loadEdgeTls(config: EdgeConfig, clock: Clock, log: Logger): Promise<EdgeTls> {
  const now = new Date(clock.now())
  const { mqtt, uplink } = await allOf({
    mqtt: () => loadMqttTls(config, now),
    uplink: () => loadUplinkTls(config, now),
  })
  const pairs: Record<string, KeyPair> = { mqtt, ...(uplink?.pair && { uplink: uplink.pair }) }
  for (const [where, { warnings }] of Object.entries(pairs))
    for (const warning of warnings) log.warn({ where }, warning)
  const warning = developmentCaWarning(config, mqtt)
  if (warning !== undefined) log.warn({ code: 'DEVELOPMENT_CA', where: 'mqtt' }, `a certificate ${warning}`)
  const daysLeft = ({ notAfter }: KeyPair): number => (notAfter.getTime() - clock.now()) / dayMs
  return {
    mqtt,
    uplink,
    daysLeft: () => Object.fromEntries(Object.entries(pairs).map(([name, pair]) => [name, daysLeft(pair)])),
  }
}
