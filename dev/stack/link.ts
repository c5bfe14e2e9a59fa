import { connect, createServer, type Socket } from 'node:net'
import type { AddressInfo } from 'node:net'
import { systemClock } from '../../src/clock.ts'
import { listen } from '../../src/listen.ts'

/** What the wire between two machines does to those who use it. */
export type LinkMode =
  | { kind: 'up' }
  /** Connections are reset, and so is every new one. */
  | { kind: 'down' }
  /** Half-open: connections stay and new ones are accepted, but nothing passes and no end is told so. */
  | { kind: 'stalled' }
  | { kind: 'slow'; latencyMs: number; bytesPerSecond: number }

export interface Link {
  readonly host: string
  readonly port: number
  readonly mode: LinkMode
  /** Takes effect at once, on the connections there are too; what a stall held back passes when it ends. */
  set(mode: LinkMode): void
  /** Connections that are passed on. */
  readonly connections: number
  close(): Promise<void>
}

/**
 * A TCP proxy on loopback that can be taken down, stalled and slowed: the uplink of a gateway in demonstrations
 * and fault tests.
 */
export async function startLink(options: {
  target: { host: string; port: number }
  port?: number
}): Promise<Link> {
  let mode: LinkMode = { kind: 'up' }
  const pairs = new Set<Pair>()
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (near) => {
    if (mode.kind === 'down') {
      near.resetAndDestroy()
      return
    }
    const pair = joinSockets(near, options.target, () => mode)
    pairs.add(pair)
    void pair.over.then(() => pairs.delete(pair))
  })
  await listen(server, options.port ?? 0, '127.0.0.1', 'the link')

  return {
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    get mode() {
      return mode
    },
    set(next) {
      mode = next
      for (const pair of pairs) {
        if (next.kind === 'down') pair.cut()
        else pair.modeChanged()
      }
    },
    get connections() {
      return pairs.size
    },
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const pair of pairs) pair.cut()
      await closed
    },
  }
}

interface Pair {
  readonly over: Promise<void>
  modeChanged(): void
  cut(): void
}

function joinSockets(near: Socket, target: { host: string; port: number }, mode: () => LinkMode): Pair {
  const far = connect({ ...target, allowHalfOpen: true })
  for (const socket of [near, far]) socket.setNoDelay(true)
  const lanes = [passOn(near, far, mode), passOn(far, near, mode)]
  const over = new Promise<void>((resolve) => {
    let open = 2
    for (const socket of [near, far]) {
      // An error is always followed by close.
      socket.on('error', () => undefined)
      socket.once('close', (failed) => {
        open -= 1
        if (open === 0) resolve()
        // A stalled wire does not carry the news of a death; modeChanged() does, once it passes again.
        else if (mode().kind !== 'stalled') end(failed)
      })
    }
  })

  function end(failed: boolean): void {
    if (failed) cut()
    else for (const lane of lanes) lane.finish()
  }
  function cut(): void {
    for (const socket of [near, far]) if (!socket.destroyed) socket.resetAndDestroy()
  }
  return {
    over,
    cut,
    modeChanged() {
      if (mode().kind !== 'stalled' && (near.destroyed || far.destroyed)) cut()
      else for (const lane of lanes) lane.pump()
    },
  }
}

interface Lane {
  pump(): void
  /** The source is gone: the target ends once it has what was under way. */
  finish(): void
}

/** Bytes under way on a slow wire before its source is made to wait. */
const underWayBytesMax = 256 * 1024

/** One direction of a connection: every chunk is due at a time, and leaves in order. */
function passOn(source: Socket, target: Socket, mode: () => LinkMode): Lane {
  const underWay: { chunk: Buffer; dueMs: number }[] = []
  let underWayBytes = 0
  let wireFreeMs = 0
  let ended = false
  let timer: NodeJS.Timeout | undefined

  source.on('data', (chunk: Buffer) => {
    underWay.push({ chunk, dueMs: dueMs(chunk.length) })
    underWayBytes += chunk.length
    pump()
  })
  source.once('end', finish)
  target.once('connect', pump)
  target.on('drain', pump)
  pump()

  function dueMs(bytes: number): number {
    const now = systemClock.monotonicMs()
    const wire = mode()
    if (wire.kind !== 'slow') return now
    wireFreeMs = Math.max(wireFreeMs, now) + (bytes / wire.bytesPerSecond) * 1000
    return wireFreeMs + wire.latencyMs
  }

  function pump(): void {
    clearTimeout(timer)
    if (mode().kind === 'stalled') {
      source.pause()
      return
    }
    if (target.destroyed) {
      source.destroy()
      return
    }
    const now = systemClock.monotonicMs()
    for (let next = underWay[0]; next; next = underWay[0]) {
      // Once the wire is fast again nothing waits for a time that was set while it was slow.
      const waitMs = mode().kind === 'slow' ? next.dueMs - now : 0
      if (waitMs > 0.5) {
        timer = setTimeout(pump, waitMs)
        break
      }
      if (target.writableNeedDrain || target.connecting) break
      underWay.shift()
      underWayBytes -= next.chunk.length
      target.write(next.chunk)
    }
    if (underWayBytes > underWayBytesMax) source.pause()
    else source.resume()
    if (ended && underWay.length === 0 && !target.writableEnded) target.end()
  }

  function finish(): void {
    ended = true
    pump()
  }

  return { pump, finish }
}
