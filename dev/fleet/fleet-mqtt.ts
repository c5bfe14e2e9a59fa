import { readFileSync } from 'node:fs'
import { connect, type MqttClient } from 'mqtt'
import { TidegateError } from '../../src/errors.ts'
import type { DeviceConnection } from './fleet.ts'

export interface DeviceFiles {
  deviceId: string
  certFile: string
  keyFile: string
}

export interface MqttTarget {
  host: string
  port: number
  caFile: string
}

interface Kept {
  order: number
  topic: string
  payload: string
  resolve: () => void
  reject: (error: Error) => void
}

/** Publications a device has on the wire without their acknowledgement; the rest waits its turn. */
const inFlightMax = 50

/** Each device with the certificate that was issued for it. */
export function connectorTo(
  target: MqttTarget,
  issued: readonly { commonName: string; certFile: string; keyFile: string }[],
): (deviceId: string) => DeviceConnection {
  const files = new Map(issued.map((device) => [device.commonName, device]))
  return (deviceId) => {
    const pair = files.get(deviceId)
    if (!pair) throw new Error(`no certificate was issued for ${deviceId}`)
    return connectDevice(target, { deviceId, certFile: pair.certFile, keyFile: pair.keyFile })
  }
}

/**
 * A device on MQTT.js over mutual TLS: QoS 1, a session that the gateway keeps (clean: false), reconnecting for
 * ever. What has no PUBACK is kept here as well as in MQTT.js, because MQTT.js gives up on messages handed to it
 * while it is still sending its own store again (`Connection closed`); so it is given none outside `connect` to
 * `close`.
 */
export function connectDevice(target: MqttTarget, files: DeviceFiles): DeviceConnection {
  const client = connect({
    protocol: 'mqtts',
    host: target.host,
    port: target.port,
    ca: readFileSync(target.caFile),
    cert: readFileSync(files.certFile),
    key: readFileSync(files.keyFile),
    rejectUnauthorized: true,
    clientId: files.deviceId,
    clean: false,
    protocolVersion: 4,
    keepalive: 15,
    connectTimeout: 10_000,
    reconnectPeriod: 500,
    resubscribe: false,
    reconnectOnConnackError: true,
  })
  return new MqttDevice(client, files.deviceId)
}

class MqttDevice implements DeviceConnection {
  readonly #client: MqttClient
  readonly #deviceId: string
  readonly #waiting: Kept[] = []
  readonly #inFlight = new Set<Kept>()
  #ready = false
  #closed = false
  #sent = 0
  #order = 0

  constructor(client: MqttClient, deviceId: string) {
    this.#client = client
    this.#deviceId = deviceId
    // A gateway that is away is a fleet's everyday life; the view shows it as sensors not connected.
    client.on('error', () => undefined)
    client.on('packetsend', (packet) => {
      if (packet.cmd === 'publish') this.#sent += 1
    })
    client.on('connect', () => {
      this.#ready = true
      this.#send()
    })
    client.on('close', () => (this.#ready = false))
  }

  get connected(): boolean {
    return this.#ready
  }

  get sent(): number {
    return this.#sent
  }

  publish(topic: string, payload: string): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(closedError(this.#deviceId))
        return
      }
      this.#waiting.push({ order: (this.#order += 1), topic, payload, resolve, reject })
      this.#send()
    })
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#ready = false
    await new Promise<void>((resolve) => this.#client.end(true, {}, () => resolve()))
    for (const kept of [...this.#waiting, ...this.#inFlight]) kept.reject(closedError(this.#deviceId))
  }

  #send(): void {
    if (!this.#ready) return
    while (this.#inFlight.size < inFlightMax) {
      const kept = this.#waiting.shift()
      if (!kept) return
      this.#inFlight.add(kept)
      this.#client.publish(kept.topic, kept.payload, { qos: 1 }, (error) => {
        this.#inFlight.delete(kept)
        if (!error) kept.resolve()
        else if (this.#closed) kept.reject(closedError(this.#deviceId))
        else this.#putBack(kept)
        this.#send()
      })
    }
  }

  /** In its old place: a device's events keep their order. */
  #putBack(kept: Kept): void {
    const behind = this.#waiting.findIndex((other) => other.order > kept.order)
    this.#waiting.splice(behind === -1 ? this.#waiting.length : behind, 0, kept)
  }
}

function closedError(deviceId: string): TidegateError {
  return new TidegateError('DEVICE_CLOSED', {
    message: `${deviceId} was disconnected before its message was acknowledged`,
    retryable: false,
    hint: 'the simulated device was stopped; nothing to do',
  })
}
