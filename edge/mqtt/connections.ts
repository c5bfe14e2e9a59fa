import { setMaxListeners } from 'node:events'
import type { Duplex } from 'node:stream'
import { guardReads } from './packet-limit.ts'
import type { RefusedConnect } from './connect-rules.ts'

/** One device's connection, and how far it may be read ahead of what was acknowledged. */
export interface Connection {
  readonly deviceId: string
  /** Aborted when the connection is over: what still waits for room is withdrawn, the device keeps it. */
  readonly signal: AbortSignal
  /** Between CONNECT and CONNACK: nothing more is read. */
  connecting: boolean
  /** Why the CONNECT is to be refused. */
  refusal: RefusedConnect | undefined
  /** A publish of so many payload bytes is being admitted. */
  began(payloadBytes: number): void
  ended(payloadBytes: number): void
  /** Nothing more is read until it was resumed as often as it was paused. */
  pause(): void
  resume(): void
  /** Reads on, if there is something to read and it may be read. */
  pull(): void
}

export interface ConnectionLimits {
  packetBytesMax: number
  inFlightMax: number
  inFlightBytesMax: number
}

export interface Connections {
  /** Puts the limits in front of a socket, then lets `attach` read from it. */
  open(socket: Duplex, deviceId: string, attach: () => void): void
  of(client: { conn: Duplex }): Connection | undefined
  /** Reads nothing more from anyone. */
  hold(): void
  /** Withdraws whatever waits for room. */
  withdraw(): void
}

/**
 * Backpressure (G7). aedes reads on whenever a chunk arrives, whether or not it was answered, so it is the socket
 * that has to know how much is unanswered: at a bound `read()` gives nothing, and TCP holds the sender back. Below
 * it everything is read at once, so that a device whose acknowledgements are withheld still has its pings answered.
 */
export function createConnections(limits: ConnectionLimits): Connections {
  const bySocket = new WeakMap<Duplex, Connection>()
  const controllers = new Set<AbortController>()
  const held = new Set<() => void>()
  let bytes = 0
  let holding = false

  function open(socket: Duplex, deviceId: string, attach: () => void): void {
    const controller = new AbortController()
    // One listener per publish that waits; Node would warn at eleven.
    setMaxListeners(0, controller.signal)
    let pending = 0
    let pulling = false
    let pauses = 0

    const connection: Connection = {
      deviceId,
      signal: controller.signal,
      connecting: false,
      refusal: undefined,
      began(payloadBytes) {
        pending += 1
        bytes += payloadBytes
      },
      ended(payloadBytes) {
        pending -= 1
        bytes -= payloadBytes
        if (held.size > 0) wake()
      },
      pause() {
        pauses += 1
      },
      resume() {
        pauses -= 1
        if (pauses === 0) pull()
      },
      pull,
    }
    const mayRead = (): boolean => {
      if (holding || connection.connecting || pauses > 0) return false
      if (pending < limits.inFlightMax && bytes < limits.inFlightBytesMax) return true
      held.add(pull)
      return false
    }
    guardReads(socket, { packetBytesMax: limits.packetBytesMax, mayRead })

    // aedes answers each 'readable' by counting one unanswered packet less and reads when it counts none: asked
    // once per packet that is pending, it reads what is there.
    function pull(): void {
      if (pulling) return
      pulling = true
      for (let asked = 0; asked <= pending + 1; asked += 1) {
        if (socket.destroyed || socket.readableLength === 0 || !mayRead()) break
        socket.emit('readable')
      }
      pulling = false
    }

    bySocket.set(socket, connection)
    controllers.add(controller)
    socket.once('close', () => {
      controllers.delete(controller)
      held.delete(pull)
      controller.abort()
    })
    attach()
    socket.on('readable', pull)
  }

  function wake(): void {
    const waiting = [...held]
    held.clear()
    for (const pull of waiting) pull()
  }

  return {
    open,
    of: (client) => bySocket.get(client.conn),
    hold() {
      holding = true
    },
    withdraw() {
      for (const controller of controllers) controller.abort()
    },
  }
}
