import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

/** Where a connection is cut: so many bytes of one direction get through, and not one more. */
export interface Cut {
  direction: 'up' | 'down'
  bytes: number
  /** How both ends learn of it. */
  how: 'end' | 'reset'
}

export interface CuttingProxy {
  readonly port: number
  /** Of the connections that come next, until told otherwise; undefined: they are left alone. */
  cut: Cut | undefined
  /** What passes is split into pieces of at most so many bytes, a turn of the event loop apart. */
  pieceBytes: number
  /** Bytes that have passed on all connections so far. */
  readonly passed: Record<Cut['direction'], number>
  /** How many connections were cut. */
  readonly cuts: number
  close(): Promise<void>
}

/** A TCP proxy on loopback that cuts connections at a given byte: up is what the client sends. */
export async function startCuttingProxy(target: { host: string; port: number }): Promise<CuttingProxy> {
  const sockets = new Set<Socket>()
  const passed = { up: 0, down: 0 }
  let cuts = 0

  const server = createServer({ noDelay: true, allowHalfOpen: true }, (near) => {
    const { cut, pieceBytes } = proxy
    const far = connect({ ...target, noDelay: true, allowHalfOpen: true })
    const both = [near, far]
    for (const socket of both) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.once('close', (failed) => {
        sockets.delete(socket)
        if (failed) for (const other of both) other.destroy()
      })
    }
    const end = (how: Cut['how']): void => {
      cuts += 1
      for (const socket of both) {
        if (how === 'reset') socket.resetAndDestroy()
        else socket.destroySoon()
      }
    }
    const pass = (from: Socket, to: Socket, direction: Cut['direction']): void => {
      const ours = cut?.direction === direction ? cut : undefined
      let left = ours?.bytes ?? Infinity
      let [ended, passing] = [false, false]
      const finish = (): void => {
        if (ended && !passing && left > 0) to.end()
      }
      if (left === 0 && from === far) far.once('connect', () => end(cut?.how ?? 'end'))
      from.once('end', () => {
        ended = true
        finish()
      })
      from.on('data', (chunk: Buffer) => {
        from.pause()
        passing = true
        let at = 0
        const next = (): void => {
          if (to.destroyed) return
          const piece = chunk.subarray(at, at + Math.min(pieceBytes, left))
          at += piece.length
          left -= piece.length
          passed[direction] += piece.length
          if (piece.length > 0) to.write(piece)
          if (left === 0 && ours) return end(ours.how)
          if (at < chunk.length) return void setImmediate(next)
          passing = false
          from.resume()
          finish()
        }
        next()
      })
    }
    pass(near, far, 'up')
    pass(far, near, 'down')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))

  const proxy: CuttingProxy = {
    port: (server.address() as AddressInfo).port,
    cut: undefined,
    pieceBytes: Infinity,
    passed,
    get cuts() {
      return cuts
    },
    close() {
      for (const socket of sockets) socket.destroy()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
  return proxy
}
