import { decode, encode } from 'msgpack-lite'
import { type GroupCommit, groupCommit } from '../../src/group-commit.ts'
import type { SessionDatabase } from './records/database-level.ts'
import { clientIdOf, takenKey } from './records/keys-level.ts'
import type { UnreleasedRecords } from './unreleased.ts'

/** In the session database, under the package's keys. Many that are released at once share one sync. */
export class UnreleasedLevel implements UnreleasedRecords {
  readonly #database: SessionDatabase
  readonly #removals: GroupCommit<string, void>

  constructor(database: SessionDatabase) {
    this.#database = database
    this.#removals = groupCommit(
      async (keys) => {
        await database.removeForGood(keys)
        return keys.map(() => {})
      },
      { itemsMax: 1000 },
    )
  }

  /** Not synced: without it there may be a second event, never none. */
  write(clientId: string, messageId: number, digest: string): Promise<void> {
    return this.#database.put(takenKey(clientId, messageId), encode({ digest }))
  }

  remove(clientId: string, messageId: number): Promise<void> {
    return this.#removals.submit(takenKey(clientId, messageId))
  }

  async *all(): AsyncGenerator<{ clientId: string; messageId: number; digest: string }> {
    for await (const [key, value] of this.#database.entries({ gte: 'incoming:', lt: 'incoming;' })) {
      const { digest } = decode(value) as { digest?: unknown }
      yield {
        clientId: clientIdOf(key),
        messageId: Number(key.split(':')[2]),
        digest: typeof digest === 'string' ? digest : '',
      }
    }
  }
}
