import { Connection } from 'rabbitmq-client'
import { deadQueue } from '../src/wire.ts'

/** Letters that lie in the dead-letter queues of these groups now; a group that has none yet counts as 0. */
export async function countDeadLetters(url: string, groups: readonly string[]): Promise<number> {
  const connection = new Connection({ url, connectionName: 'tidegate-dev', acquireTimeout: 10_000 })
  // Every call below fails by itself when the connection does.
  connection.on('error', () => undefined)
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
  } finally {
    await connection.close()
  }
}

function isNotFound(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'NOT_FOUND'
}
