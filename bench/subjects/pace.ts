import { setTimeout as delay } from 'node:timers/promises'
import type { TLSSocket } from 'node:tls'
import { connectDevice, type DeviceFiles, type Fleet } from './device.ts'
import { eventType, nextNumber, publishPacket, topicOf } from './packets.ts'

export interface PaceOptions {
  perSecond: number
  /** Ends the sending when aborted. */
  signal: AbortSignal
  type?: string
  /** Called when all are connected, before the first event. */
  onStarted?: () => void
  /** Called for each event with its number, and when it was due, by performance.now(). */
  onSent?: (number: number, atMs: number) => void
  /** Called for each PUBACK, with the time since its event was due, ms. */
  onAcknowledged?: (number: number, latencyMs: number) => void
}

/** What a device of ours has on the wire at the most: below what an edge reads ahead. */
const inFlightMax = 400

interface Sent {
  number: number
  packet: Buffer
  atMs: number
}

/**
 * The fleet publishes so many events a second, whatever comes back (an open loop); a connection that is lost is made anew, and what had no
 * PUBACK goes again, as devices do. Resolves, once the sending was ended, when everything has its PUBACK.
 */
export async function pace(port: number, fleet: Fleet, options: PaceOptions): Promise<void> {
  const devices = await Promise.all(
    fleet.devices.map(async (files) => {
      const device = new Device(port, fleet.caFile, files, options)
      await device.connect()
      return device
    }),
  )
  options.onStarted?.()
  const startedMs = performance.now()
  let sent = 0
  let turn = 0
  while (!options.signal.aborted) {
    const due = Math.floor(((performance.now() - startedMs) * options.perSecond) / 1000)
    for (; sent < due; sent++) devices[turn++ % devices.length]?.send()
    for (const device of devices) device.flush()
    await delay(options.perSecond > 100 ? 1 : 10)
  }
  await Promise.all(devices.map((device) => device.settle()))
}

class Device {
  readonly #target: { port: number; caFile: string }
  readonly #files: DeviceFiles
  readonly #options: PaceOptions
  readonly #topic: Buffer
  #socket: TLSSocket | undefined
  #unacknowledged: Sent[] = []
  /** When the events were due that have had no room on the wire yet. */
  readonly #owedAtMs: number[] = []
  #packets: Buffer[] = []
  #packetId = 0
  #rest = 0
  #ended = false

  constructor(port: number, caFile: string, files: DeviceFiles, options: PaceOptions) {
    this.#target = { port, caFile }
    this.#files = files
    this.#options = options
    this.#topic = topicOf(files.commonName, options.type)
  }

  async connect(): Promise<void> {
    const socket = await connectDevice(this.#target, this.#files)
    this.#socket = socket
    this.#rest = 0
    socket.on('error', () => undefined)
    socket.on('data', (chunk) => this.#read(chunk))
    socket.once('close', () => void this.#again())
    // Once more, with the flag that says so [MQTT-3.3.1-1].
    for (const { packet } of this.#unacknowledged) packet[0] = 0x3a
    if (this.#unacknowledged.length > 0)
      socket.write(Buffer.concat(this.#unacknowledged.map(({ packet }) => packet)))
  }

  send(): void {
    this.#owedAtMs.push(performance.now())
  }

  /** Writes what is due in one go. */
  flush(): void {
    if (!this.#socket) return
    const { onSent, type = eventType } = this.#options
    while (this.#unacknowledged.length < inFlightMax) {
      const atMs = this.#owedAtMs.shift()
      if (atMs === undefined) break
      this.#packetId = (this.#packetId % 65_535) + 1
      const number = nextNumber()
      const packet = publishPacket(this.#topic, this.#packetId, type)
      this.#unacknowledged.push({ number, packet, atMs })
      this.#packets.push(packet)
      onSent?.(number, atMs)
    }
    if (this.#packets.length > 0) this.#socket.write(Buffer.concat(this.#packets.splice(0)))
  }

  /** Waits until everything that was due is acknowledged. */
  async settle(): Promise<void> {
    while (this.#unacknowledged.length > 0 || this.#owedAtMs.length > 0) {
      this.flush()
      await delay(5)
    }
    this.#ended = true
    this.#socket?.destroy()
  }

  #read(chunk: Buffer): void {
    // PUBACKs come in the order of their PUBLISHes [MQTT-4.6.0-2], four bytes each.
    this.#rest += chunk.length
    const nowMs = performance.now()
    const answered = this.#unacknowledged.splice(0, Math.floor(this.#rest / 4))
    this.#rest %= 4
    for (const { number, atMs } of answered) this.#options.onAcknowledged?.(number, nowMs - atMs)
    if (this.#owedAtMs.length > 0) this.flush()
  }

  async #again(): Promise<void> {
    this.#socket = undefined
    this.#packets = []
    while (!this.#ended && !this.#socket) await this.connect().catch(() => delay(100))
  }
}
