import { request as requestHttp, type IncomingMessage } from 'node:http'
import { request as requestHttps } from 'node:https'
import { vhostOf } from '../../src/amqp/address.ts'
import type { Clock } from '../../src/clock.ts'
import { messageOf, TidegateError } from '../../src/errors.ts'
import { orAborted } from '../../src/lifecycle.ts'
import type { AmqpTls } from '../amqp/connection-rabbit.ts'
import type { QueueInEffect } from './findings.ts'
import type { QueueArguments } from '../amqp/topology.ts'

export interface ManagementOptions {
  /** `http://user:password@host:15672`; the user has the tag `management`, or `monitoring`. */
  url: string
  /** Of the broker; its CA vouches for https as well. */
  tls?: AmqpTls | undefined
  /** `amqp://…/vhost` */
  brokerUrl: string
  clock: Clock
}

/** RabbitMQ's HTTP API, as far as it says what is in effect for a queue. */
export interface Management {
  /**
   * Undefined: there is no such queue. Its policies are unknown for some seconds after it was declared.
   * @throws TidegateError `MANAGEMENT_UNREACHABLE`, `MANAGEMENT_REFUSED`
   */
  queue(name: string, signal: AbortSignal): Promise<QueueInEffect | 'not known yet' | undefined>
}

const answerTimeoutMs = 5_000
const answerBytesMax = 1_048_576
const columns = 'name,type,arguments,policy,operator_policy,effective_policy_definition'

export function brokerManagement(options: ManagementOptions): Management {
  const base = new URL(options.url)
  const auth = `${decodeURIComponent(base.username)}:${decodeURIComponent(base.password)}`
  const folder = base.pathname.replace(/\/$/, '')
  const vhost = vhostOf(options.brokerUrl)

  async function ask(path: string, signal: AbortSignal): Promise<{ status: number; text: string }> {
    const url = new URL(`${base.origin}${folder}${path}`)
    const over = new AbortController()
    const timer = options.clock.after(answerTimeoutMs, () =>
      over.abort(new Error(`no answer within ${answerTimeoutMs} ms`)),
    )
    try {
      return await orAborted(answered(url, AbortSignal.any([signal, over.signal])), signal)
    } finally {
      timer.cancel()
      // Whatever is still being read.
      over.abort()
    }
  }

  async function answered(url: URL, signal: AbortSignal): Promise<{ status: number; text: string }> {
    const given = { auth, signal }
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const sent =
        url.protocol === 'https:'
          ? requestHttps(url, { ...given, ...options.tls }, resolve)
          : requestHttp(url, given, resolve)
      sent.once('error', reject).end()
    })
    return { status: response.statusCode ?? 0, text: await textOf(response) }
  }

  return {
    async queue(name, signal) {
      const path = `/api/queues/${encodeURIComponent(vhost)}/${encodeURIComponent(name)}?columns=${columns}`
      try {
        const { status, text } = await ask(path, signal)
        if (status === 404) return undefined
        if (status === 401 || status === 403) throw refused(base.host, status)
        if (status !== 200) throw new Error(`it answers with ${status}`)
        return read(JSON.parse(text) as Answer)
      } catch (error) {
        signal.throwIfAborted()
        throw error instanceof TidegateError ? error : unreachable(base.host, error)
      }
    },
  }
}

interface Answer {
  type?: string
  arguments?: QueueArguments
  policy?: string | null
  operator_policy?: string | null
  effective_policy_definition?: QueueInEffect['definition'] | null
}

function read(answer: Answer): QueueInEffect | 'not known yet' {
  if (answer.policy === undefined && answer.effective_policy_definition === undefined) return 'not known yet'
  return {
    type: answer.type ?? 'classic',
    arguments: answer.arguments ?? {},
    policies: [answer.policy, answer.operator_policy].filter(
      (name) => typeof name === 'string' && name !== '',
    ),
    definition: answer.effective_policy_definition ?? {},
  } as QueueInEffect
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > answerBytesMax) throw new Error(`it answers with more than ${answerBytesMax} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** As the AMQP client reads it. */
function refused(host: string, status: number): TidegateError {
  return new TidegateError('MANAGEMENT_REFUSED', {
    message: `RabbitMQ's HTTP API at ${host} refused us with ${status}: policies cannot be seen`,
    retryable: false,
    hint: 'the user in broker.management needs the tag management or monitoring, and any right on the vhost',
  })
}

function unreachable(host: string, cause: unknown): TidegateError {
  return new TidegateError('MANAGEMENT_UNREACHABLE', {
    message: `RabbitMQ's HTTP API at ${host} does not answer: policies cannot be seen: ${messageOf(cause)}`,
    retryable: true,
    hint: 'see whether the management plugin is enabled and broker.management is right',
    cause,
  })
}
