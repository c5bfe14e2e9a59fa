import type { Clock } from '../src/clock.ts'
import type { Logger } from '../src/log.ts'
import { type ClientTls, ClientTlsFiles, loadClientTls } from '../src/settings/client-tls.ts'
import type { AmqpTls } from './amqp/connection-rabbit.ts'
import type { CloudConfig } from './config.ts'

const brokerFiles = 'the broker connection (broker.tls)'
const dayMs = 86_400_000

export interface CloudTls {
  /** What each new connection shows and trusts. */
  broker: AmqpTls | undefined
  /** Days left of each certificate, now. */
  daysLeft(): Record<string, number>
  /** 1 for each place in the configuration whose files cannot be used, so that those of before are; else 0. */
  faulty(): Record<string, number>
}

/** What the broker sees, and whom its connection trusts. @throws TidegateError `TLS_*` */
export function loadBrokerTls({ broker: { tls } }: CloudConfig): ClientTls | undefined {
  return tls && loadClientTls(tls, { where: brokerFiles })
}

/** The certificates of the broker connection, proven before anything is opened. @throws TidegateError `TLS_*` */
export function loadCloudTls({ broker: { tls } }: CloudConfig, clock: Clock, log: Logger): CloudTls {
  const files = tls && new ClientTlsFiles({ paths: tls, where: brokerFiles, clock, log })
  return {
    broker: files && amqpTls(files),
    daysLeft() {
      const { notAfter } = files?.current().pair ?? {}
      return notAfter ? { broker: (notAfter.getTime() - clock.now()) / dayMs } : {}
    },
    faulty: () => (files ? { broker: Number(files.faulty) } : {}),
  }
}

/** The client takes it apart for each connection that it opens, so each gets what is there then; `ca` first, and the pair that goes with it. */
function amqpTls(files: ClientTlsFiles): AmqpTls {
  let shown = files.current()
  return {
    get ca() {
      shown = files.current()
      return shown.ca
    },
    get cert() {
      return shown.pair?.cert
    },
    get key() {
      return shown.pair?.key
    },
  }
}
