import { createServer, type AddressInfo, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { closeConnection, countMessages } from '../../../dev/watch/queues-rabbit.ts'
import { lookIntoQueues } from '../../../dev/evidence/search-rabbit.ts'
import { FakeClock } from '../../support/fakes/clock.ts'

/** Takes connections, and never says a word. */
async function silentBroker(): Promise<{ url: string; close(): Promise<void> }> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => void sockets.add(socket.on('error', () => undefined)))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `amqp://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

test('a broker that says nothing is not waited for', async () => {
  const broker = await silentBroker()
  const clock = new FakeClock()
  const counting = countMessages(broker.url, ['history.dead.v2'], clock)
  counting.catch(() => undefined)
  await clock.advance(15_000)
  await expect(counting).rejects.toMatchObject({ code: 'BROKER_UNREACHABLE' })
  await broker.close()
})

test('a broker that does not show its queues is not waited for when events are looked for', async () => {
  const broker = await silentBroker()
  const clock = new FakeClock()
  const options = { url: broker.url, queues: ['q'], groups: ['history'], clock }
  const looking = lookIntoQueues(options, () => {}, new AbortController().signal)
  looking.catch(() => undefined)
  await clock.advance(120_000)
  await expect(looking).rejects.toMatchObject({ code: 'BROKER_UNREACHABLE' })
  expect(clock.waiting).toBe(0)
  await broker.close()
}, 5000)

test('a connection that never says that it is closed is cut', async () => {
  const clock = new FakeClock()
  let destroyed = false
  const closing = closeConnection(
    { close: () => new Promise(() => {}), unsafeDestroy: () => (destroyed = true) },
    clock,
  )
  await clock.advance(1000)
  await closing
  expect({ destroyed, waiting: clock.waiting }).toEqual({ destroyed: true, waiting: 0 })
})
