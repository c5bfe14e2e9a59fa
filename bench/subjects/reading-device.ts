import { connectDevice, type DeviceFiles } from './device.ts'
import { publishPacket, topicOf } from './packets.ts'

const everyMs = 50
const patienceMs = 5000

export interface Waited {
  /** From each PUBLISH to its PUBACK, ms; of one without, for how long none had come. */
  latencies: number[]
  unanswered: number
}

/** A device that does nobody any harm: a reading each 50 ms at QoS 1, on one connection, whatever comes back. */
export async function waitedBy(
  target: { port: number; caFile: string },
  device: DeviceFiles,
  forMs: number,
): Promise<Waited> {
  const socket = await connectDevice(target, device, `${device.commonName}-reading`)
  const topic = topicOf(device.commonName)
  const sentAtMs: number[] = []
  const latencies: number[] = []
  let rest = 0
  socket.on('error', () => undefined)
  socket.on('data', (chunk) => {
    rest += chunk.length
    for (; rest >= 4; rest -= 4) {
      const at = sentAtMs.shift()
      if (at !== undefined) latencies.push(performance.now() - at)
    }
  })
  let sent = 0
  const send = (): void => {
    sentAtMs.push(performance.now())
    socket.write(publishPacket(topic, (sent++ % 65_535) + 1))
  }
  await new Promise<void>((resolve) => {
    const timer = setInterval(send, everyMs)
    setTimeout(() => (clearInterval(timer), resolve()), forMs)
  })
  const giveUpMs = performance.now() + patienceMs
  while (sentAtMs.length > 0 && !socket.destroyed && performance.now() < giveUpMs)
    await new Promise((resolve) => setTimeout(resolve, 20))
  socket.destroy()
  const nowMs = performance.now()
  return { latencies: [...latencies, ...sentAtMs.map((at) => nowMs - at)], unanswered: sentAtMs.length }
}
