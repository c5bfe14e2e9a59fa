import { randomInt } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'

const handedOut = new Set<number>()

/**
 * A free loopback port below the kernel's ephemeral range. While its server is stopped, a client that keeps
 * dialling an *ephemeral* port will sooner or later be given that very port as its own and connect to itself.
 */
export async function freePort(): Promise<number> {
  const ceiling = ephemeralFloor()
  for (;;) {
    const port = randomInt(Math.min(12_000, ceiling - 1_000), ceiling)
    if (handedOut.has(port)) continue
    handedOut.add(port)
    if (await isFree(port)) return port
  }
}

/** Whether nothing listens on this loopback port. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}

function ephemeralFloor(): number {
  try {
    const floor = Number(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split(/\s+/)[0])
    return floor > 4_000 ? floor : 32_768
  } catch {
    return 32_768
  }
}
