import { Duplex } from 'node:stream'
import { expect, test } from 'vitest'
import { farewellMsMax, type Parting, partWith } from '../../../edge/mqtt/entrance/farewell.ts'
import { FakeClock } from '../../support/fakes/clock.ts'

type Socket = Parting['arrived']

const answer = Buffer.of(0x20, 2, 0, 5)

/** A connection whose client takes what is written, or nothing. */
function connection(takes: boolean): { arrived: Socket; written: Buffer[]; closed: Promise<unknown> } {
  const written: Buffer[] = []
  const arrived = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      written.push(chunk)
      if (takes) done()
    },
  })
  return {
    arrived: arrived as Socket,
    written,
    closed: new Promise((resolve) => arrived.once('close', resolve)),
  }
}

test('who is refused has its answer, and is gone when it has taken it', async () => {
  const { arrived, written, closed } = connection(true)
  partWith({ arrived, transport: arrived, stream: arrived, answer, isAnswered: false }, new FakeClock())
  await closed
  expect(written).toEqual([answer])
})

test.each([false, true])(
  'who is refused and reads nothing back is gone within a second (G7), answered already: %s',
  async (isAnswered) => {
    const clock = new FakeClock()
    const { arrived, closed } = connection(false)
    // As a WebSocket's, which is not the one that was written to.
    const stream = connection(false).arrived
    partWith({ arrived, transport: arrived, stream, answer, isAnswered }, clock)
    await clock.advance(farewellMsMax - 1)
    expect(arrived.destroyed).toBe(false)
    await clock.advance(1)
    expect([arrived.destroyed, stream.destroyed]).toEqual([true, true])
    await closed
  },
)

test('who is refused and has left unread what came before is gone at once (G7)', async () => {
  const { arrived, written, closed } = connection(false)
  arrived.write('pong')
  const stream = connection(true).arrived
  partWith({ arrived, transport: arrived, stream, answer, isAnswered: false }, new FakeClock())
  expect(arrived.destroyed).toBe(true)
  await closed
  expect(written).toHaveLength(1)
})
