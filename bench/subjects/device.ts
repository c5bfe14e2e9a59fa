import { readFileSync } from 'node:fs'
import { connect, type TLSSocket } from 'node:tls'
import { setTimeout as delay } from 'node:timers/promises'
import type { DevelopmentPki } from '../../certs/development.ts'
import { connectPacket } from './packets.ts'

/** Devices with their certificates. */
export interface Fleet {
  caFile: string
  devices: readonly DeviceFiles[]
}

export interface DeviceFiles {
  commonName: string
  certFile: string
  keyFile: string
}

export function fleetOf(pki: DevelopmentPki): Fleet {
  return { caFile: pki.caFile, devices: pki.devices }
}

/** Resolves at CONNACK. Rejects if the connection is refused, or ends before. */
export async function connectDevice(
  target: { port: number; caFile: string },
  device: DeviceFiles,
  clientId = device.commonName,
): Promise<TLSSocket> {
  const socket = connect({
    host: '127.0.0.1',
    port: target.port,
    ca: readFileSync(target.caFile),
    cert: readFileSync(device.certFile),
    key: readFileSync(device.keyFile),
  })
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject)
    socket.once('close', () => reject(new Error(`${clientId} was disconnected before its CONNACK`)))
    socket.once('secureConnect', () => socket.write(connectPacket(clientId)))
    socket.once('data', (chunk) => {
      if (chunk[0] === 0x20 && chunk[3] === 0) resolve()
      else reject(new Error(`CONNECT was refused: ${chunk.toString('hex')}`))
    })
  })
  for (const event of ['error', 'close']) socket.removeAllListeners(event)
  return socket
}

/** Tries until a device is let in. Half a minute at the most. */
export async function untilConnack(port: number, { caFile, devices: [device] }: Fleet): Promise<void> {
  if (!device) throw new Error('a fleet without devices')
  const giveUpMs = performance.now() + 30_000
  for (;;) {
    try {
      const socket = await connectDevice({ port, caFile }, device)
      socket.destroy()
      return
    } catch (error) {
      if (performance.now() > giveUpMs) throw error
      await delay(5)
    }
  }
}
