import type { Socket } from 'node:net'
import { Refusal } from './refusal.ts'

export interface SeatsOptions {
  connectionsMax: number
  connectionsPerDeviceMax: number
  onCount(open: number): void
}

/** Connections whose device is known, over all listeners: how many there are, and how many of each device (G7). */
export class Seats {
  readonly #options: SeatsOptions
  readonly #ofDevice = new Map<string, number>()
  #taken = 0

  constructor(options: SeatsOptions) {
    this.#options = options
  }

  get areAllTaken(): boolean {
    return this.#taken >= this.#options.connectionsMax
  }

  /** Until the socket is closed. `told` is what its client is told of a refusal. @throws Refusal */
  take(socket: Socket, deviceId: string, told: { returnCode?: number }): void {
    const { connectionsMax, connectionsPerDeviceMax } = this.#options
    const open = this.#ofDevice.get(deviceId) ?? 0
    if (open >= connectionsPerDeviceMax)
      throw new Refusal('connections-per-device-max', `the device has ${open} connections open`, {
        deviceId,
        ...told,
      })
    if (this.areAllTaken)
      throw new Refusal('connections-max', `${connectionsMax} connections are open`, { deviceId, ...told })
    this.#ofDevice.set(deviceId, open + 1)
    this.#options.onCount(++this.#taken)
    socket.once('close', () => {
      this.#options.onCount(--this.#taken)
      const left = (this.#ofDevice.get(deviceId) ?? 1) - 1
      if (left > 0) this.#ofDevice.set(deviceId, left)
      else this.#ofDevice.delete(deviceId)
    })
  }
}
