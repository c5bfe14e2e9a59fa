import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Clock } from '../../../src/clock.ts'

/** As long as a refused client may take to take its answer from us. */
export const farewellMsMax = 1000

export interface Parting {
  /** Of TCP: nothing is left of the connection once this is destroyed. */
  arrived: Socket
  /** What is above it, or itself: TLS, and a WebSocket in it. */
  transport: Socket
  stream: Duplex
  /** Undefined: nothing is said any more. */
  answer: Buffer | undefined
  /** Whether the answer has been written already, by whoever ends the connection once it has gone. */
  isAnswered: boolean
}

/**
 * Ends the connection of one that is not let in, after its answer if it takes it: who reads nothing back is gone within `farewellMsMax`, and at
 * once if it has left unread what came before (G7).
 */
export function partWith(
  { arrived, transport, stream, answer, isAnswered }: Parting,
  clock: Pick<Clock, 'after'>,
): void {
  const end = (): void => {
    stream.destroy()
    // A stream above may wait for what its client never takes.
    arrived.destroy()
  }
  const isBehind = transport.writableLength > 0 || arrived.writableLength > 0
  if (!isAnswered && (answer === undefined || stream.destroyed || isBehind)) return end()
  const deadline = clock.after(farewellMsMax, end)
  arrived.once('close', () => deadline.cancel())
  if (!isAnswered) stream.write(answer, end)
}
