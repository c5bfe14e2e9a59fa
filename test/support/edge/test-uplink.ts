import type { Exchange } from '../../../edge/uplink/exchange.ts'
import { rabbitExchange, type RabbitExchangeOptions } from '../../../edge/uplink/exchange-rabbit.ts'
import { systemClock } from '../../../src/clock.ts'
import { wire } from '../../../src/contract/wire.ts'
import { silentLog } from '../../../src/log.ts'

/** The real uplink of `gw-1` to four partitions, without TLS unless asked for, that comes back fast. */
export function testUplink(
  options: Pick<RabbitExchangeOptions, 'url'> & Partial<RabbitExchangeOptions>,
): Exchange {
  return rabbitExchange({
    tls: undefined,
    exchange: wire.exchange,
    partitions: 4,
    gateway: 'gw-1',
    compress: false,
    connectTimeoutMs: 5000,
    heartbeatS: 10,
    reconnect: { delayMsMin: 50, delayMsMax: 200 },
    clock: systemClock,
    random: Math.random,
    log: silentLog,
    ...options,
  })
}
