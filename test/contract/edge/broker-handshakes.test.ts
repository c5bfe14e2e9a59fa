import { connect as connectTcp, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { useTestBrokers } from '../../support/edge/test-broker.ts'

const { pki, start } = useTestBrokers()

/** Opens connections that send one byte and no more, so many at a time; each that is ended is made again. */
function fill(port: number, { from, places }: { from: string; places: number }): { stop: () => void } {
  const open = new Set<Socket>()
  let isOver = false
  const more = (): void => {
    if (isOver) return
    const socket = connectTcp({ port, host: '127.0.0.1', localAddress: from }, () => socket.write('\u0016'))
    open.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => {
      open.delete(socket)
      setImmediate(more)
    })
  }
  for (let place = 0; place < places; place += 1) more()
  return {
    stop() {
      isOver = true
      for (const socket of open) socket.destroy()
    },
  }
}

test.for([
  ['behind another address', '127.0.0.2'],
  ['behind its own address', '127.0.0.1'],
])(
  'a device gets in each time while a stranger %s takes all places with one byte each (G7)',
  async ([, from]) => {
    const max = 100
    const { connect, seen, port, when } = await start({
      options: { connectionsMax: max, handshakesMax: max, handshakeTimeoutMs: 60_000 },
    })
    const tls = await pki.device('a1')
    const filling = fill(port, { from: from as string, places: max + 20 })
    try {
      await when(({ refused }) => refused.includes('handshake-displaced'))
      for (let time = 0; time < 10; time += 1) {
        const client = await connect(tls)
        expect(client.connected).toBe(true)
        await client.endAsync()
      }
    } finally {
      filling.stop()
    }
    expect(new Set(seen.refused)).toEqual(new Set(['handshake-displaced']))
    // However many they were.
    expect(seen.logs.filter(({ reason }) => reason === 'handshake-displaced')).toHaveLength(1)
  },
)

test('connections that are half open take no place of those that are (G7)', async () => {
  const { connect, port, when, seen } = await start({ options: { connectionsMax: 1, handshakesMax: 10 } })
  const filling = fill(port, { from: '127.0.0.2', places: 5 })
  try {
    const client = await connect(await pki.device('a1'))
    await when(({ connections }) => connections === 1)
    expect(seen.refused).toEqual([])
    // No handshake is begun for which there would be no place.
    await expect(connect(await pki.device('a2'))).rejects.toThrow(/closed|ECONNRESET|disconnected/i)
    await when(({ refused }) => refused.length > 0)
    expect(seen.refused[0]).toBe('connections-max')
    await client.endAsync()
  } finally {
    filling.stop()
  }
})
