import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Connection } from 'rabbitmq-client'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import type { Queued } from '../../../edge/outbox/outbox.ts'
import { Packing } from '../../../edge/uplink/packing.ts'
import { claimedChain, genesis, verifyChain } from '../../../src/contract/codec.ts'
import { epoch, Ledger } from '../../support/cloud/cloud-events.ts'
import { testUplink } from '../../support/edge/test-uplink.ts'
import { obtainPackage } from '../../support/packages.ts'
import { createVhost } from '../../support/servers.ts'

const exchange = 'tidegate.events'
const folder = mkdtempSync(join(tmpdir(), 'tidegate-foreign-'))
let program: ChildProcess | undefined
beforeAll(() => obtainPackage('python3-pika', '/usr/lib/python3/dist-packages/pika'), 120_000)
afterEach(() => program?.kill('SIGKILL'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** The block of this language in docs/WIRE.md: what a reader is given is what is run. */
function shown(language: string): string {
  const document = readFileSync(new URL('../../../docs/WIRE.md', import.meta.url), 'utf8')
  return new RegExp(`\`\`\`${language}\n(.*?)\`\`\``, 's').exec(document)?.[1] ?? ''
}

function start(language: string, url: string, queue: string): ChildProcess {
  const env = { ...process.env, AMQP_URL: url }
  if (language === 'python') return spawn('/usr/bin/python3', ['-uc', shown('python'), queue], { env })
  const file = join(folder, 'consumer.mjs')
  const client = pathToFileURL(createRequire(import.meta.url).resolve('rabbitmq-client')).href
  writeFileSync(file, shown('js').replace("'rabbitmq-client'", `'${client}'`))
  return spawn(process.execPath, [file, queue], { env })
}

test.each(['python', 'js'])(
  'whoever follows docs/WIRE.md in %s reads batches and single events, compressed or not, and can verify the chain (G8)',
  async (language) => {
    const url = await createVhost()
    const admin = new Connection(url)
    await admin.exchangeDeclare({ exchange, type: 'topic', durable: true })
    await admin.queueDeclare({ queue: 'mine', durable: true, arguments: { 'x-queue-type': 'quorum' } })
    await admin.queueBind({ queue: 'mine', exchange, routingKey: '*.com.acme.#' })

    const ledger = new Ledger()
    const texts: string[] = []
    for (const [eventsMax, compress] of [
      [1, false],
      [7, false],
      [40, true],
    ] as const) {
      const uplink = testUplink({ url, exchange, compress, partitions: 1 })
      const session = await uplink.connect(new AbortController().signal)
      const events = Array.from({ length: 100 }, (): Queued => {
        const { event, text } = ledger.next('device-1', { data: { note: 'zwölf "°C", }{][' } })
        const { sequence, type, id } = event
        texts.push(text)
        return {
          position: sequence,
          sequence,
          lane: 'normal',
          deviceId: 'device-1',
          type,
          id,
          text,
          recordedAtMs: 0,
        }
      })
      const packed = new Packing({ eventsMax, bytesMax: 65_536, partitions: 1 }).pack(events)
      let proven = 0
      const all = new Promise<void>((resolve) =>
        session.onOutcomes((outcomes) => (proven += outcomes.length) === packed.length && resolve()),
      )
      for (const shipment of packed) session.publish(shipment)
      await all
      await uplink.close()
    }

    let printed = ''
    let complaints = ''
    program = start(language, url, 'mine')
    program.stdout?.setEncoding('utf8').on('data', (chunk: string) => (printed += chunk))
    program.stderr?.setEncoding('utf8').on('data', (chunk: string) => (complaints += chunk))
    await vi.waitFor(() => expect(printed.split('\n').length, complaints).toBe(texts.length + 1), {
      timeout: 20_000,
      interval: 50,
    })
    const read = printed.trimEnd().split('\n')
    expect(read).toEqual(texts)
    let chain = genesis('gateway-1', epoch)
    for (const text of read) {
      expect(verifyChain(text, chain)).toBe(true)
      chain = String(claimedChain(text))
    }
    await vi.waitFor(
      async () => {
        const { messageCount } = await admin.queueDeclare({ queue: 'mine', passive: true })
        expect(messageCount).toBe(0)
      },
      { timeout: 10_000 },
    )
    await admin.close()
  },
  60_000,
)
