import { createServer, type AddressInfo, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { closeConnection, countDeadLetters } from '../../dev/dead-letters-rabbit.ts'
import { FakeClock } from '../support/fake-clock.ts'

test('a broker that says nothing is not waited for', async () => {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => void sockets.add(socket.on('error', () => undefined)))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `amqp://127.0.0.1:${(server.address() as AddressInfo).port}`
  const clock = new FakeClock()
  const counting = countDeadLetters(url, ['history'], clock)
  counting.catch(() => undefined)
  await clock.advance(15_000)
  await expect(counting).rejects.toMatchObject({ code: 'BROKER_UNREACHABLE' })
  for (const socket of sockets) socket.destroy()
  await new Promise((resolve) => server.close(resolve))
})

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
