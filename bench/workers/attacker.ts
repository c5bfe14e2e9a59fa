import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { onTask } from '../run/worker.ts'
import { type Attack, attacks, connectOf } from '../subjects/attacks.ts'
import type { DeviceFiles } from '../subjects/device.ts'

export interface AttackTask {
  attack: string
  port: number
  caFile: string
  device: DeviceFiles
  forMs: number
}

export interface AttackAnswer {
  /** Bytes that the broker took, and connections that were made. */
  bytes: number
  connections: number
}

onTask(async ({ attack: name, port, caFile, device, forMs }: AttackTask): Promise<AttackAnswer> => {
  const attack = attacks.find((one) => one.name === name)
  if (!attack) throw new Error(`there is no attack ${name}`)
  const answer = { bytes: 0, connections: 0 }
  const { certFile, keyFile, commonName } = device
  const own = attack.isStranger ? {} : { cert: readFileSync(certFile), key: readFileSync(keyFile) }
  const target = { host: '127.0.0.1', port, ca: readFileSync(caFile), ...own }
  const block = attack.block?.(commonName)
  for (let index = 0; index < attack.connections; index += 1)
    void attackFor({ attack, target, block, device: commonName, index, answer })
  await delay(forMs)
  return answer
})

interface Part {
  attack: Attack
  target: ConnectionOptions
  block: Buffer | undefined
  device: string
  index: number
  answer: AttackAnswer
}

/** One connection after the other, for ever. */
async function attackFor(part: Part): Promise<void> {
  for (;;) {
    const socket = connect(part.target)
    socket.on('error', () => undefined)
    const over = new Promise<void>((resolve) => void socket.once('close', () => resolve()))
    // What becomes of it is nobody's concern.
    await Promise.race([over, attackOn(socket, part).catch(() => undefined)])
    const { bytesWritten } = socket
    part.answer.bytes += bytesWritten
    socket.destroy()
    await over
    // What is ended for what it does comes again a little later; what only connects, at once.
    if (part.block) await delay(50)
  }
}

async function attackOn(socket: TLSSocket, { attack, block, device, index, answer }: Part): Promise<void> {
  await once(socket, 'secureConnect')
  answer.connections += 1
  if (attack.isStranger) return
  socket.write(connectOf(device, index))
  await once(socket, 'data')
  if (block === undefined) return
  // What it is sent is read, and thrown away.
  socket.resume()
  const first = attack.first?.(device, index)
  if (first) socket.write(first)
  for (;;) if (!socket.write(block)) await once(socket, 'drain')
}
