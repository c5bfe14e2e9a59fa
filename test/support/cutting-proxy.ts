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

  const server = createServer({ noDelay: true }, (near) => {
    const { cut, pieceBytes } = proxy
    const far = connect({ ...target, noDelay: true })
    const both = [near, far]
    for (const socket of both) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.once('close', () => {
        sockets.delete(socket)
        for (const other of both) other.destroySoon()
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
      let left = cut?.direction === direction ? cut.bytes : Infinity
      if (left === 0 && direction === 'down') far.once('connect', () => end(cut?.how ?? 'end'))
      from.on('data', (chunk: Buffer) => {
        from.pause()
        let at = 0
        const next = (): void => {
          if (to.destroyed || left === 0) return
          const piece = chunk.subarray(at, at + Math.min(pieceBytes, left))
          at += piece.length
          left -= piece.length
          passed[direction] += piece.length
          to.write(piece)
          if (left === 0 && cut) end(cut.how)
          else if (at < chunk.length) setImmediate(next)
          else from.resume()
        }
        if (left === 0 && cut) end(cut.how)
        else next()
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
