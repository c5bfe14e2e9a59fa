import { type IncomingMessage, request } from 'node:http'
import type { Database } from '../../../cloud/database/database-postgres.ts'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import { postgresReader } from '../../../cloud/history/reader-postgres.ts'

/** Takes what there is after where it was; `seen` has the IDs in the order in which they came. */
export interface TestReader {
  readonly name: string
  readonly seen: string[]
  /** How many came. */
  step(database: Database, socket: string): Promise<number>
}

interface Taken {
  ids: string[]
  cursor: string
}

function readerOf(
  name: string,
  beginning: string,
  take: (after: string, database: Database, socket: string) => Promise<Taken>,
): TestReader {
  let cursor = beginning
  const seen: string[] = []
  return {
    name,
    seen,
    async step(database, socket) {
      const taken = await take(cursor, database, socket)
      seen.push(...taken.ids)
      ;({ cursor } = taken)
      return taken.ids.length
    },
  }
}

const pageMax = 50

export const sqlReader = (): TestReader =>
  readerOf('SQL', '', async (after, database) => {
    const sql = 'select cursor, id from tidegate.read_events($1, null, $2)'
    const rows = await database.query<{ cursor: string; id: string }>(sql, [after, pageMax])
    return { ids: rows.map(({ id }) => id), cursor: rows.at(-1)?.cursor ?? after }
  })

/** As a projection reads: in a transaction of its own, and goes on where the page says. */
export const portReader = (): TestReader =>
  readerOf('port', '', (after, database) =>
    postgresStorage(database).transaction(async (tx) => {
      const { events, next } = await postgresReader(tx).read(after, { max: pageMax })
      return { ids: events.map(({ id }) => id), cursor: next }
    }, new AbortController().signal),
  )

/** The query that is in the books: what is committed late has a position that it has passed. */
export const positionReader = (): TestReader =>
  readerOf('position alone', '0', async (after, database) => {
    const sql = 'select position, id from tidegate.events where position > $1 order by position limit $2'
    const rows = await database.query<{ position: string; id: string }>(sql, [after, pageMax])
    return { ids: rows.map(({ id }) => id), cursor: rows.at(-1)?.position ?? after }
  })

export const httpReader = (): TestReader =>
  readerOf('HTTP', '', async (after, _, socket) => {
    const response = await got(socket, `/v1/events?limit=${pageMax}&after=${after}`)
    const { items, next } = JSON.parse((await response.toArray()).join('')) as {
      items: { id: string }[]
      next: string
    }
    return { ids: items.map(({ id }) => id), cursor: next }
  })

/** Takes some events of a stream, leaves, and comes again after the last ID: as through a bad network. */
export const streamReader = (): TestReader =>
  readerOf('stream', '', async (after, _, socket) => {
    const response = await got(socket, '/v1/events/stream', after === '' ? {} : { 'last-event-id': after })
    const ids: string[] = []
    let cursor = after
    for await (const message of messagesOf(response)) {
      cursor = message.id ?? cursor
      if (message.data !== undefined) ids.push((JSON.parse(message.data) as { id: string }).id)
      if (ids.length >= pageMax || (message.data === undefined && message.id !== undefined)) break
    }
    response.destroy()
    return { ids, cursor }
  })

export interface Message {
  id?: string
  data?: string
}

/** Server-sent events as they come. */
export async function* messagesOf(response: AsyncIterable<Uint8Array>): AsyncGenerator<Message> {
  let text = ''
  const decoder = new TextDecoder()
  for await (const part of response) {
    text += decoder.decode(part, { stream: true })
    const messages = text.split('\n\n')
    text = messages.pop() ?? ''
    for (const message of messages) {
      const fields = new Map<string, string[]>()
      for (const line of message.split('\n')) {
        const [, name = '', value = ''] = /^([^:]*): ?(.*)$/.exec(line) ?? []
        fields.set(name, [...(fields.get(name) ?? []), value])
      }
      const id = fields.get('id')?.at(-1)
      const data = fields.get('data')?.join('\n')
      yield { ...(id !== undefined && { id }), ...(data !== undefined && { data }) }
    }
  }
}

function got(
  socketPath: string,
  path: string,
  headers: Record<string, string> = {},
): Promise<IncomingMessage> {
  return new Promise((done, fail) => {
    request({ socketPath, host: 'localhost', path, headers }, (response) => {
      if (response.statusCode === 200) done(response)
      else fail(new Error(`${path}: ${response.statusCode}`))
    })
      .once('error', fail)
      .end()
  })
}
