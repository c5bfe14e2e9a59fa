import { messageOf, TidegateError } from '../../src/errors.ts'
import type { Finding } from '../outbox/look/finding.ts'
import type { Verification } from '../outbox/look/verification.ts'
import { type Door, readExported } from './door.ts'
import { writeFilter } from './export-filter.ts'
import type { Queue, QueueReport } from './queue.ts'

/** The queue of a gateway that runs, which answers for itself. */
export function queueBehind(door: Door): Queue {
  const unreachable = (cause: unknown): TidegateError =>
    new TidegateError('GATEWAY_UNREACHABLE', {
      message: `the gateway that has this outbox open does not answer at ${door.url}: ${reasonOf(cause)}`,
      retryable: true,
      hint: 'try again, or stop the gateway and ask the folder itself',
      cause,
    })

  async function* ask(path: string): AsyncIterable<string> {
    try {
      const response = await fetch(`${door.url}${path}`, {
        headers: { authorization: `Bearer ${door.token}` },
      })
      if (!response.ok) throw new Error(`it answered ${response.status}`)
      if (response.body) yield* response.body.pipeThrough(new TextDecoderStream())
    } catch (cause) {
      throw unreachable(cause)
    }
  }
  async function askWhole(path: string): Promise<unknown> {
    let text = ''
    for await (const chunk of ask(path)) text += chunk
    return JSON.parse(text)
  }

  return {
    running: true,
    findings: [],
    inspect: async (devicesMax) => (await askWhole(`/outbox/inspect?devices=${devicesMax}`)) as QueueReport,
    verify: async () => (await askWhole('/outbox/verify')) as Verification,
    find: async ({ id, deviceId }) => {
      const query = new URLSearchParams({ id, ...(deviceId !== undefined && { device: deviceId }) })
      return (await askWhole(`/outbox/find?${query.toString()}`)) as Finding
    },
    async *export(filter) {
      let rest = ''
      for await (const chunk of ask(`/outbox/export?${writeFilter(filter).toString()}`)) {
        const lines = (rest + chunk).split('\n')
        rest = lines.pop() ?? ''
        for (const line of lines) yield readExported(line)
      }
    },
    close: async () => {},
  }
}

/** fetch says that it failed; its cause says why. */
function reasonOf(error: unknown): string {
  return messageOf(error instanceof Error && error.cause !== undefined ? error.cause : error)
}
