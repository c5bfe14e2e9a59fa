import { Connection } from 'rabbitmq-client'
import type { Clock } from '../../src/clock.ts'
import { codeOf, messageOf, TidegateError } from '../../src/errors.ts'

const answerWithinMs = 15_000
const closeWithinMs = 1000

/**
 * Messages that lie in these queues now and are with nobody, as their leaders know it: what rabbitmqctl lists is some seconds old. One that
 * does not exist counts as 0.
 * @throws TidegateError `BROKER_UNREACHABLE`
 */
export async function countMessages(
  url: string,
  queues: readonly string[],
  clock: Clock,
): Promise<{ queue: string; messages: number }[]> {
  const connection = new Connection({ url, connectionName: 'tidegate-dev', acquireTimeout: 10_000 })
  // Every call below fails by itself when the connection does.
  connection.on('error', () => undefined)
  const tooLate = clock.after(answerWithinMs, () => connection.unsafeDestroy())
  try {
    const counts: { queue: string; messages: number }[] = []
    for (const queue of queues) {
      const declared = await connection
        .queueDeclare({ queue, passive: true })
        .catch((error: unknown) =>
          codeOf(error) === 'NOT_FOUND' ? { messageCount: 0 } : Promise.reject(error as Error),
        )
      counts.push({ queue, messages: declared.messageCount })
    }
    return counts
  } catch (cause) {
    throw new TidegateError('BROKER_UNREACHABLE', {
      message: `the broker does not say how many messages its queues hold: ${messageOf(cause)}`,
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
