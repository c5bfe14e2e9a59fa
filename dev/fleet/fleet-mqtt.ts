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

/**
 * A device on MQTT.js over mutual TLS: QoS 1, a session that the gateway keeps (clean: false), reconnecting for
 * ever. What has no PUBACK is kept here as well as in MQTT.js, because MQTT.js gives up on messages handed to it
 * while it is still sending its own store again (`Connection closed`); so it is given none outside `connect` to
 * `close`.
 */
export function connectDevice(target: MqttTarget, files: DeviceFiles): DeviceConnection {
  const client: MqttClient = connect({
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
  const waiting: Kept[] = []
  const inFlight = new Set<Kept>()
  let ready = false
  let closed = false
  let sent = 0
  let order = 0

  // A gateway that is away is a fleet's everyday life; the view shows it as sensors not connected.
  client.on('error', () => undefined)
  client.on('packetsend', (packet) => {
    if (packet.cmd === 'publish') sent += 1
  })
  client.on('connect', () => {
    ready = true
    send()
  })
  client.on('close', () => (ready = false))

  function send(): void {
    if (!ready) return
    while (inFlight.size < inFlightMax) {
      const kept = waiting.shift()
      if (!kept) return
      inFlight.add(kept)
      client.publish(kept.topic, kept.payload, { qos: 1 }, (error) => {
        inFlight.delete(kept)
        if (!error) kept.resolve()
        else if (closed) kept.reject(closedError(files.deviceId))
        else putBack(kept)
        send()
      })
    }
  }

  /** In its old place: a device's events keep their order. */
  function putBack(kept: Kept): void {
    const behind = waiting.findIndex((other) => other.order > kept.order)
    waiting.splice(behind === -1 ? waiting.length : behind, 0, kept)
  }

  return {
    get connected() {
      return ready
    },
    get sent() {
      return sent
    },
    publish: (topic, payload) =>
      new Promise((resolve, reject) => {
        if (closed) {
          reject(closedError(files.deviceId))
          return
        }
        waiting.push({ order: (order += 1), topic, payload, resolve, reject })
        send()
      }),
    async close() {
      if (closed) return
      closed = true
      ready = false
      await new Promise<void>((resolve) => client.end(true, {}, () => resolve()))
      for (const kept of [...waiting, ...inFlight]) kept.reject(closedError(files.deviceId))
    },
  }
}

function closedError(deviceId: string): TidegateError {
  return new TidegateError('DEVICE_CLOSED', {
    message: `${deviceId} was disconnected before its message was acknowledged`,
    retryable: false,
    hint: 'the simulated device was stopped; nothing to do',
  })
}
