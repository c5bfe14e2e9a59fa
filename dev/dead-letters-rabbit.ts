import { Connection } from 'rabbitmq-client'
import type { Clock } from '../src/clock.ts'
import { messageOf, TidegateError } from '../src/errors.ts'
import { deadQueue } from '../src/wire.ts'

const answerWithinMs = 15_000
const closeWithinMs = 1000

/**
 * Letters that lie in the dead-letter queues of these groups now; a group that has none yet counts as 0.
 * @throws TidegateError `BROKER_UNREACHABLE`
 */
export async function countDeadLetters(
  url: string,
  groups: readonly string[],
  clock: Clock,
): Promise<number> {
  const connection = new Connection({ url, connectionName: 'tidegate-dev', acquireTimeout: 10_000 })
  // Every call below fails by itself when the connection does.
  connection.on('error', () => undefined)
  const tooLate = clock.after(answerWithinMs, () => connection.unsafeDestroy())
  try {
    let letters = 0
    for (const group of groups) {
      const queue = deadQueue(group)
      const declared = await connection
        .queueDeclare({ queue, passive: true })
        .catch((error: unknown) => (isNotFound(error) ? { messageCount: 0 } : Promise.reject(error as Error)))
      letters += declared.messageCount
    }
    return letters
  } catch (cause) {
    throw new TidegateError('BROKER_UNREACHABLE', {
      message: `the broker does not say how many dead letters it holds: ${messageOf(cause)}`,
      retryable: true,
      hint: 'see whether RabbitMQ runs',
      cause,
    })
  } finally {
    tooLate.cancel()
    await closeConnection(connection, clock)
  }
}

/** In order where the broker answers, else by force: the client's close() may wait for ever for a lost socket. */
export async function closeConnection(
  connection: Pick<Connection, 'close' | 'unsafeDestroy'>,
  clock: Clock,
): Promise<void> {
  const closed = new AbortController()
  await Promise.race([connection.close(), clock.sleep(closeWithinMs, closed.signal)])
  closed.abort()
  connection.unsafeDestroy()
}

function isNotFound(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'NOT_FOUND'
}
