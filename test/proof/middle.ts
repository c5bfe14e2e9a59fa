import { once } from 'node:events'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { createServer, type TlsOptions } from 'node:tls'
import type { Chance } from '../simulation/plan/chance.ts'

/** What passes in one direction from now on, and what happens then. */
export interface Flow {
  /** So many bytes pass; `Infinity`: all. */
  bytes: number
  /** At most so many at a time, */
  pieceBytes: number
  /** with so long in between, during which nothing more is read: whoever writes has to wait. */
  pauseMs: number
  /**
   * When they have passed, both directions are reset, or ended in order, at once; or nothing more passes in this one and
   * its writer is not told, while the other goes on for `lingerMs`.
   */
  ending: 'reset' | 'end' | 'swallow'
  lingerMs: number
}

export interface Plan {
  toBroker: Flow
  toClient: Flow
  /** What the client reads in place of each frame of the broker's, from now on. */
  rewrite?: (frame: Buffer) => Buffer[]
}

/** Stands between a client and RabbitMQ, ends TLS, and does what it likes with what passes. */
export interface Middle {
  /** Where the client finds the broker. */
  url: string
  /** For the connections there are and for every one to come. */
  arm(plan: Plan): void
  /** Connections that were cut in the middle of what passed. */
  readonly cuts: number
  close(): Promise<void>
}

const open: Flow = { bytes: Infinity, pieceBytes: Infinity, pauseMs: 0, ending: 'reset', lingerMs: 0 }
export const harmless: Plan = { toBroker: open, toClient: open }

export async function openMiddle(brokerUrl: string, tls: TlsOptions): Promise<Middle> {
  const { username, password, hostname, port, pathname } = new URL(brokerUrl)
  const pairs = new Set<{ arm(plan: Plan): void; cut(): void }>()
  let plan = harmless
  let cuts = 0

  const server = createServer(tls, (near) => {
    const far = connect(Number(port), hostname)
    let over = false
    const finish = (how: Flow['ending']): void => {
      if (over) return
      over = true
      cuts += 1
      if (how === 'end') {
        near.end()
        far.end()
      } else cut()
    }
    const cut = (): void => {
      far.resetAndDestroy()
      near.destroy()
    }
    const flows = { toBroker: new Passage(finish), toClient: new Passage(finish) }
    const pair = {
      arm(next: Plan): void {
        flows.toBroker.arm(next.toBroker)
        flows.toClient.arm(next.toClient, next.rewrite)
      },
      cut,
    }
    pair.arm(plan)
    pairs.add(pair)
    for (const socket of [near, far]) {
      socket.setNoDelay(true)
      socket.on('error', () => {})
      socket.on('close', () => {
        over = true
        pairs.delete(pair)
        near.destroy()
        far.destroy()
      })
    }
    void flows.toBroker.carry(near, far)
    void flows.toClient.carry(far, near)
  })
  server.on('tlsClientError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const at = (server.address() as AddressInfo).port

  return {
    url: `amqps://${username}:${password}@127.0.0.1:${at}${pathname}`,
    arm(next) {
      plan = next
      for (const pair of pairs) pair.arm(next)
    },
    get cuts() {
      return cuts
    },
    async close() {
      for (const pair of pairs) pair.cut()
      server.close()
      await once(server, 'close')
    },
  }
}

/** One direction of one connection. */
class Passage {
  #flow: Flow = open
  #left = Infinity
  #rewrite: Plan['rewrite']
  /** The beginning of a frame whose end has not come. */
  #begun: Buffer = Buffer.alloc(0)
  #lingering = false
  readonly #finish: (how: Flow['ending']) => void

  constructor(finish: (how: Flow['ending']) => void) {
    this.#finish = finish
  }

  arm(flow: Flow, rewrite?: Plan['rewrite']): void {
    this.#flow = flow
    this.#left = flow.bytes
    this.#rewrite = rewrite
  }

  async carry(from: Socket, to: Socket): Promise<void> {
    try {
      for await (const chunk of from)
        await this.#pass(
          this.#rewrite ? this.#rewritten(chunk as Buffer, this.#rewrite) : (chunk as Buffer),
          to,
        )
      to.end()
    } catch {
      // A socket that was cut.
    }
  }

  /** Type, channel and size are seven bytes, and behind what a frame holds is one more (AMQP 0-9-1, 4.2.3). */
  #rewritten(chunk: Buffer, rewrite: (frame: Buffer) => Buffer[]): Buffer {
    let rest: Buffer = Buffer.concat([this.#begun, chunk])
    const frames: Buffer[] = []
    while (rest.length >= 7 && rest.length >= rest.readUInt32BE(3) + 8) {
      const bytes = rest.readUInt32BE(3) + 8
      frames.push(...rewrite(rest.subarray(0, bytes)))
      rest = rest.subarray(bytes)
    }
    this.#begun = rest
    return Buffer.concat(frames)
  }

  async #pass(chunk: Buffer, to: Socket): Promise<void> {
    let at = 0
    while (at < chunk.length && this.#left > 0) {
      const bytes = Math.min(this.#flow.pieceBytes, this.#left, chunk.length - at)
      const piece = chunk.subarray(at, at + bytes)
      at += bytes
      this.#left -= bytes
      if (!to.write(piece)) await room(to)
      if (this.#flow.pauseMs > 0) await wait(this.#flow.pauseMs)
    }
    if (this.#left > 0 || this.#lingering) return
    const { ending, lingerMs } = this.#flow
    if (ending !== 'swallow') return this.#finish(ending)
    this.#lingering = true
    setTimeout(this.#finish, lingerMs, 'reset')
  }
}

/** When a socket takes more, or never will. */
function room(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const go = (): void => {
      socket.off('drain', go)
      socket.off('close', go)
      resolve()
    }
    socket.on('drain', go)
    socket.on('close', go)
  })
}

/** Cuts somewhere within the first `bytes` of either direction, or not at all. */
export function anyPlan(chance: Chance, bytes: { toBroker: number; toClient: number }): Plan {
  const flow = (bytesMax: number): Flow => {
    const bytes = chance.one(0.25) ? Infinity : chance.whole(1, bytesMax)
    const small = bytes < 20_000 ? chance.whole(1, 64) : chance.whole(1000, 70_000)
    return {
      bytes,
      pieceBytes: chance.one(0.5) ? Infinity : small,
      pauseMs: 0,
      ending: chance.pick(['reset', 'end', 'swallow', 'swallow']),
      lingerMs: chance.whole(1, 60),
    }
  }
  const plan = { toBroker: flow(bytes.toBroker), toClient: flow(bytes.toClient) }
  // One that is waited for takes longer than all others, so that it comes seldom.
  if (chance.one(0.05)) plan.toBroker = { ...plan.toBroker, pieceBytes: 20_000, pauseMs: 2 }
  return plan
}
