import { Duplex } from 'node:stream'
import type { PGlite } from '@electric-sql/pglite'

type Protocol = Pick<PGlite, 'execProtocolRaw'>

const terminate = 0x58
const parse = 0x50
const idle = Buffer.from([0x5a, 0, 0, 0, 5, 0x49])

/**
 * PGlite as a server that PostgreSQL's own driver dials: bytes of the protocol there and back, so that types, errors and prepared statements
 * are what they are in production. PGlite has one session: it is of one connection from its first message until it is in no transaction.
 */
export class PgliteServer {
  readonly #protocol: Protocol
  #owner: Wire | undefined
  readonly #waiting: { wire: Wire; begin: () => void }[] = []

  constructor(protocol: Protocol) {
    this.#protocol = protocol
  }

  dial(): Duplex {
    return new Wire(this)
  }

  /** Of the whole of what the driver writes at once. */
  async ask(wire: Wire, message: Uint8Array): Promise<Buffer> {
    if (this.#owner !== wire) await this.#turnOf(wire)
    const answer = Buffer.from(await this.#protocol.execProtocolRaw(new Uint8Array(message)))
    if (answer.subarray(-idle.length).equals(idle)) this.#leave(wire)
    return answer
  }

  /** Rolls back what a connection that ends has begun, and forgets what it has prepared. */
  async hangUp(wire: Wire, prepared: ReadonlySet<string>): Promise<void> {
    const mine = this.#waiting.findIndex((waiting) => waiting.wire === wire)
    if (mine >= 0) this.#waiting.splice(mine, 1)
    if (this.#owner !== wire) await this.#turnOf(wire)
    else await this.#protocol.execProtocolRaw(query('rollback'))
    for (const name of prepared) await this.#protocol.execProtocolRaw(query(`deallocate "${name}"`))
    this.#leave(wire)
  }

  async #turnOf(wire: Wire): Promise<void> {
    if (this.#owner !== undefined)
      await new Promise<void>((begin) => {
        this.#waiting.push({ wire, begin })
      })
    this.#owner = wire
  }

  #leave(wire: Wire): void {
    if (this.#owner !== wire) return
    const next = this.#waiting.shift()
    this.#owner = next?.wire
    next?.begin()
  }
}

class Wire extends Duplex {
  readonly #server: PgliteServer
  readonly #prepared = new Set<string>()

  constructor(server: PgliteServer) {
    super()
    this.#server = server
  }

  connect(): this {
    queueMicrotask(() => this.emit('connect'))
    return this
  }

  // What the driver asks of a socket.
  setNoDelay(): void {}
  setKeepAlive(): void {}
  ref(): void {}
  unref(): void {}

  override _read(): void {}

  override _write(message: Buffer, _: unknown, done: (error?: Error) => void): void {
    if (message[0] === terminate) {
      done()
      this.destroy()
      return
    }
    const name = message[0] === parse ? message.toString('latin1', 5, message.indexOf(0, 5)) : ''
    if (name !== '') this.#prepared.add(name)
    void this.#pass(message, done)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    void this.#hangUp(() => done(error))
  }

  async #pass(message: Buffer, done: (error?: Error) => void): Promise<void> {
    try {
      const answer = await this.#server.ask(this, message)
      if (!this.destroyed) this.push(withoutProcess(answer))
      done()
    } catch (error) {
      done(error as Error)
    }
  }

  async #hangUp(done: () => void): Promise<void> {
    try {
      await this.#server.hangUp(this, this.#prepared)
    } catch {
      // PGlite is closed already, and with it all that was begun.
    }
    done()
  }
}

/** A session that hangs is ended by its process, and here that is all of the server: it is not told which it is. */
function withoutProcess(answer: Buffer): Buffer {
  for (let at = 0; at + 5 <= answer.length;) {
    const length = answer.readUInt32BE(at + 1) + 1
    if (answer[at] === 0x4b) return Buffer.concat([answer.subarray(0, at), answer.subarray(at + length)])
    // Only the answer to a startup begins with an authentication.
    if (at === 0 && answer[0] !== 0x52) return answer
    at += length
  }
  return answer
}

function query(sql: string): Uint8Array {
  const body = Buffer.from(`${sql}\0`)
  const head = Buffer.alloc(5)
  head[0] = 0x51
  head.writeUInt32BE(body.length + 4, 1)
  return new Uint8Array(Buffer.concat([head, body]))
}
