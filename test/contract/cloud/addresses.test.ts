import { connect, createServer, type Server, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connectAmqp } from '../../../cloud/amqp/connection-rabbit.ts'
import { cloudConfigSchema } from '../../../cloud/config.ts'
import { rabbitExchange } from '../../../edge/uplink/exchange-rabbit.ts'
import { systemClock } from '../../../src/clock.ts'
import { silentLog } from '../../../src/log.ts'
import { createVhost } from '../../support/servers.ts'

/** A port of the loopback address of IPv6 behind which the broker is. */
let server: Server
let url: URL
const sockets = new Set<Socket>()
beforeAll(async () => {
  url = new URL(await createVhost())
  const { hostname, port } = url
  server = createServer((socket) => {
    const onward = connect(Number(port), hostname)
    for (const each of [socket, onward]) sockets.add(each.on('error', () => each.destroy()))
    socket.pipe(onward).pipe(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '::1', resolve))
  url = new URL(url.href.replace(url.host, `[::1]:${(server.address() as { port: number }).port}`))
})
afterAll(() => {
  for (const socket of sockets) socket.destroy()
  server.close()
})

describe('a broker at an address of IPv6', () => {
  test('is reached by the cloud, which names it as the URL does', async () => {
    const broker = await connectAmqp({ url: url.href, connectionName: 'test', log: silentLog })
    expect(broker.where).toBe(url.host)
    await broker.client.queueDeclare({ queue: 'q', exclusive: true })
    await broker.close()
  })

  test('is reached by the edge', async () => {
    const exchange = rabbitExchange({
      url: url.href,
      tls: undefined,
      exchange: 'amq.topic',
      partitions: 4,
      gateway: 'gateway-1',
      compress: false,
      connectTimeoutMs: 5_000,
      heartbeatS: 15,
      reconnect: { delayMsMin: 50, delayMsMax: 100 },
      clock: systemClock,
      random: Math.random,
      log: silentLog,
    })
    const patience = new AbortController()
    const session = await exchange.connect(patience.signal)
    expect(session.blocked).toBe(false)
    await exchange.close()
  })
})

test.each([
  ['amqp://u:50%@h', '%25'],
  ['amqp://h/a/b', '%2F'],
])('a URL that leads elsewhere than it reads is refused: %s', (broker, says) => {
  const { error } = cloudConfigSchema.safeParse({ broker: { url: broker } })
  expect(error?.issues.map(({ message }) => message).join()).toContain(says)
})
