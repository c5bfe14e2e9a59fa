import { hash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { genesis } from '../../../src/contract/codec.ts'
import { eventKey as idOf } from '../../../src/contract/event.ts'
import { encodeCandidate } from '../../../src/contract/codec.ts'
import type { Submission } from '../../../edge/outbox/outbox.ts'
import type { StoreFolder, StoreOperation } from '../../../edge/store/store.ts'

const epoch = '01JD0000000000000000000000'
const recordedAtMs = Date.UTC(2026, 0, 1)
const operationsPerWrite = 20_000

export interface FillOptions {
  /** A generation is closed when it has so many. */
  idsPerGeneration?: number
  onText?: (sequence: number, text: string) => void
}

/**
 * Fills a folder as version 1 of the layout did, a record for each event and each remembered ID: what its gateway held when it was
 * stopped. `closed` are IDs of a generation that was closed; their events have left.
 */
export async function fillBeforeBlocks(
  folder: StoreFolder,
  queued: Iterable<Submission>,
  closed: Iterable<Submission> = [],
  { idsPerGeneration = Infinity, onText }: FillOptions = {},
): Promise<void> {
  const store = await folder.open()
  let operations: StoreOperation[] = [{ type: 'put', key: 'e!h~', value: '1' }]
  const devices = new Map<string, { events: number; bytes: number }>()
  const generation = { number: 1, count: 0, openedSteadyMs: 0 }
  const head = {
    version: 1,
    gateway: 'gw-1',
    epoch,
    epochBase: 0,
    earlier: [],
    position: 0,
    chain: genesis('gw-1', epoch),
    depth: { high: 0, normal: 0 },
    bytes: { high: 0, normal: 0 },
    newest: { high: 0, normal: 0 },
    first: { high: 1, normal: 1 },
    generation,
    steadyMs: 0,
    wallMs: 0,
    credits: [],
    undatedFrom: null,
    clean: true,
  }
  const put = (key: string, value: string): void => {
    operations.push({ type: 'put', key, value })
  }
  const closeGeneration = (): void => {
    put(`g!${number8(generation.number)}`, JSON.stringify({ count: generation.count, closedSteadyMs: 0 }))
    generation.number += 1
    generation.count = 0
  }
  const remember = (candidate: Submission['candidate']): void => {
    if (generation.count >= idsPerGeneration) closeGeneration()
    put(`d!${number8(generation.number)}!${hashOf(candidate)}`, '1')
    generation.count += 1
  }
  for (const { candidate } of closed) remember(candidate)
  closeGeneration()
  for (const { candidate, lane, ttlMs } of queued) {
    const position = ++head.position
    const recordedtime = new Date(recordedAtMs).toISOString()
    const place = { gateway: 'gw-1', epoch, sequence: position, recordedtime }
    const { text, chain } = encodeCandidate(candidate.text, place, head.chain)
    onText?.(position, text)
    const { partitionkey: device, type, id } = candidate
    const body = `${device}\t${type}\t${id}\t${position}\t${recordedAtMs}\t0\t${ttlMs ?? ''}\n${text}`
    const sum = crc32(body, position * 2 + (lane === 'high' ? 1 : 0)).toString(36)
    put(`e!${lane[0]}!${number16(position)}`, `${sum}\t${body}`)
    remember(candidate)
    if (ttlMs !== undefined) put(`x!${number16(ttlMs)}!${number16(position)}!${lane[0]}`, '1')
    head.chain = chain
    head.newest[lane] = position
    head.depth[lane] += 1
    head.bytes[lane] += Buffer.byteLength(text)
    const usage = devices.get(device) ?? { events: 0, bytes: 0 }
    devices.set(device, { events: usage.events + 1, bytes: usage.bytes + Buffer.byteLength(text) })
    if (operations.length < operationsPerWrite) continue
    await store.write(operations, { sync: false })
    operations = []
  }
  for (const [device, { events, bytes }] of devices) put(`q!${device}`, `${events} ${bytes}`)
  const json = JSON.stringify(head)
  put('m', `1 ${crc32(json).toString(36)}\n${json}`)
  await store.write(operations, { sync: true })
  await store.close()
}

function hashOf(candidate: Submission['candidate']): string {
  return hash('sha256', idOf(candidate), 'base64url').slice(0, 22)
}

function number8(value: number): string {
  return String(value).padStart(8, '0')
}

function number16(value: number): string {
  return String(value).padStart(16, '0')
}
