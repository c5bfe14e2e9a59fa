import type { Clock } from '../src/clock.ts'
import type { Logger } from '../src/log.ts'
import { loadTlsFiles, type TlsFiles } from '../src/tls-files.ts'
import type { EdgeConfig } from './config.ts'

export interface EdgeTls {
  mqtt: TlsFiles
  uplink: TlsFiles | undefined
  /** Days left of each certificate, now. */
  daysLeft: () => Record<string, number>
}

const dayMs = 86_400_000

/** Both ends' certificates, proven before anything is opened. @throws TidegateError `TLS_*` */
export function loadEdgeTls({ mqtt, uplink }: EdgeConfig, clock: Clock, log: Logger): EdgeTls {
  const now = new Date(clock.now())
  const load = (
    { ca, cert, key }: { ca: string; cert: string; key: string },
    kind: 'server' | 'client',
    where: string,
  ): TlsFiles => {
    const files = loadTlsFiles({ caFile: ca, certFile: cert, keyFile: key, where, kind, now })
    for (const warning of files.warnings) log.warn({ where }, warning)
    return files
  }
  const files = {
    mqtt: load(mqtt.tls, 'server', 'the MQTT listener (mqtt.tls)'),
    uplink: uplink.tls && load(uplink.tls, 'client', 'the uplink (uplink.tls)'),
  }
  const daysLeft = ({ notAfter }: TlsFiles): number => (notAfter.getTime() - clock.now()) / dayMs
  return {
    ...files,
    daysLeft: () => ({
      mqtt: daysLeft(files.mqtt),
      ...(files.uplink && { uplink: daysLeft(files.uplink) }),
    }),
  }
}
