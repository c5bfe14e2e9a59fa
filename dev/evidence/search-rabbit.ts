import { type AsyncMessage, Connection, type Channel } from 'rabbitmq-client'
import type { Clock } from '../../src/clock.ts'
import { isBatch, splitBatch } from '../../src/contract/batch.ts'
import { codeOf, messageOf, TidegateError } from '../../src/errors.ts'
import { closeConnection } from '../watch/queues-rabbit.ts'
import { readEvent, type Looked, type See } from './search.ts'
import type { Identity } from '../watch/history.ts'
import { kindOf, type QueueKind } from './whereabouts.ts'

export interface QueuesToSearch {
  url: string
  /** Names; one that does not exist is passed over. */
  queues: readonly string[]
  /** Consumer groups whose queues are among them. */
  groups: readonly string[]
  clock: Clock
  /** Of each queue, how many messages are looked at. */
  messagesMax?: number
}

const messagesMaxDefault = 20_000
/** Nothing was handed out for so long: nothing will be. */
const silenceMs = 5000
const givenBackWithinMs = 5000
const lookWithinMs = 120_000

/** A letter moves from its rung to a partition queue when its time is up, and nowhere else by itself. */
const order: Record<QueueKind['kind'], number> = {
  rung: 0,
  queue: 1,
  'dead-letters': 2,
  unroutable: 3,
  'other-queue': 4,
}

/**
 * Looks at the messages in queues and leaves them there: they are taken without being acknowledged, and given back, in their order,
 * by closing the channel. RabbitMQ counts that as a delivery of each, and as nothing else. What somebody else has been handed and
 * has not acknowledged is not seen, so nobody should be consuming.
 * @throws TidegateError `BROKER_UNREACHABLE`
 */
export async function lookIntoQueues(
  options: QueuesToSearch,
  see: See,
  signal: AbortSignal,
): Promise<Looked[]> {
  const { url, clock, groups, messagesMax = messagesMaxDefault } = options
  const connection = new Connection({ url, connectionName: 'tidegate-dev search', acquireTimeout: 10_000 })
  // Every call below fails by itself when the connection does.
  connection.on('error', () => undefined)
  const tooLate = clock.after(lookWithinMs, () => connection.unsafeDestroy())
  const cut = (): void => connection.unsafeDestroy()
  signal.addEventListener('abort', cut)
  const looked: Looked[] = []
  try {
    const named = options.queues.map((queue) => ({ queue, kind: kindOf(queue, groups) }))
    for (const { queue, kind } of named.toSorted((a, b) => order[a.kind.kind] - order[b.kind.kind])) {
      const seen = (event: Identity): void => see(event, { queue, ...kind })
      const one = await lookIntoQueue(connection, { queue, messagesMax, clock }, seen, signal)
      if (!one) continue
      looked.push(one)
      if (kind.kind !== 'rung') await untilGivenBack(connection, one, clock, signal)
    }
    return looked
  } catch (cause) {
    signal.throwIfAborted()
    throw new TidegateError('BROKER_UNREACHABLE', {
      message: `the broker does not show what its queues hold: ${messageOf(cause)}`,
      retryable: true,
      hint: 'see whether RabbitMQ runs',
      cause,
    })
  } finally {
    signal.removeEventListener('abort', cut)
    tooLate.cancel()
    await closeConnection(connection, clock)
  }
}

async function lookIntoQueue(
  connection: Connection,
  { queue, messagesMax, clock }: { queue: string; messagesMax: number; clock: Clock },
  see: (event: Identity) => void,
  signal: AbortSignal,
): Promise<Looked | undefined> {
  const channel = await openChannel(connection)
  try {
    const { messageCount: holds, consumerCount } = await channel.queueDeclare({ queue, passive: true })
    const wanted = Math.min(holds, messagesMax)
    let looked = 0
    if (wanted > 0) {
      const all = new AbortController()
      // With this bound RabbitMQ hands out no more than is wanted, whatever comes in meanwhile. A get would be refused
      // by a queue with a single active consumer.
      await channel.basicQos({ prefetchCount: wanted })
      await channel.basicConsume({ queue }, (message) => {
        looked += 1
        for (const event of eventsIn(message)) see(event)
        if (looked === wanted) all.abort()
      })
      await untilSilent(() => looked, AbortSignal.any([all.signal, signal]), clock)
      signal.throwIfAborted()
    }
    const blind = whyBlind({ queue, holds, looked, consumers: consumerCount })
    return { place: queue, holds, looked, ...(blind !== undefined && { blind }) }
  } catch (error) {
    if (codeOf(error) === 'NOT_FOUND') return undefined
    // Somebody's own queue, or one that we have no right to.
    if (!['RESOURCE_LOCKED', 'ACCESS_REFUSED'].includes(codeOf(error))) throw error
    return {
      place: queue,
      holds: 0,
      looked: 0,
      blind: `${queue} could not be looked into: ${messageOf(error)}`,
    }
  } finally {
    await channel.close()
  }
}

/** Until `enough` is aborted, or nothing more is counted. */
async function untilSilent(count: () => number, enough: AbortSignal, clock: Clock): Promise<void> {
  let before: number
  do {
    before = count()
    await clock.sleep(silenceMs, enough).catch(() => undefined)
  } while (!enough.aborted && count() !== before)
}

function whyBlind(found: {
  queue: string
  holds: number
  looked: number
  consumers: number
}): string | undefined {
  const { queue, holds, looked, consumers } = found
  if (looked < holds) return `${queue} holds ${holds} messages, and only the first ${looked} were looked at`
  if (consumers > 0) return `somebody consumes from ${queue}: what was handed to them was not seen`
  return undefined
}

/** Closing the channel is answered before what it held is back in the queue. */
async function untilGivenBack(
  connection: Connection,
  { place: queue, holds }: Looked,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const giveUpMs = clock.monotonicMs() + givenBackWithinMs
  const channel = await openChannel(connection)
  try {
    while ((await channel.queueDeclare({ queue, passive: true })).messageCount < holds) {
      if (clock.monotonicMs() > giveUpMs) return
      await clock.sleep(20, signal)
    }
  } finally {
    await channel.close()
  }
}

async function openChannel(connection: Connection): Promise<Channel> {
  const channel = await connection.acquire({ emitErrorsFromChannel: true })
  channel.on('error', () => undefined)
  return channel
}

/** One, or those of a batch; none of what cannot be read. */
function eventsIn({ body, contentType, contentEncoding }: AsyncMessage): Identity[] {
  return textsIn(body, contentType, contentEncoding).flatMap((text) => readEvent(text) ?? [])
}

function textsIn(body: unknown, contentType?: string, contentEncoding?: string): string[] {
  if (!isBatch(contentType) || !Buffer.isBuffer(body)) return [textOf(body)]
  try {
    return splitBatch(body, contentEncoding).map((text) => text.toString('utf8'))
  } catch {
    return []
  }
}

/** The client parses some content types by itself. */
function textOf(body: unknown): string {
  if (Buffer.isBuffer(body)) return body.toString('utf8')
  return typeof body === 'string' ? body : JSON.stringify(body)
}
