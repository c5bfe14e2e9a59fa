/** When a group is believed to be broken, and not the events that it gets. */
export interface KillSwitchOptions {
  /** Events that were tried within the window, or waited behind one that failed, at the least. */
  after: number
  /** Of the devices that were tried within the window, so many failed: 0.5 is half of them. */
  share: number
  windowMs: number
}

/** Whom more than a window brings are not counted: those that are, are as good a sample (G7). */
const devicesMax = 10_000
/** Of a fleet of two, one sick device is half. */
const failingDevicesMin = 3
/** In a row, until what waits behind a device is believed to fail as well: an outage of a moment is over by the second retry. */
const failuresMin = 3

interface Tried {
  /** In a row, until now: 0 if its newest attempt did not fail. */
  failures: number
  /** In which half of a window that was. */
  half: number
}

/**
 * Counts devices and not messages: one sick device with many messages must not stop a fleet, nor hide that the fleet fails. The window
 * slides by halves, so it is between a half and a whole of its length.
 */
export class KillSwitch {
  readonly #options: KillSwitchOptions
  readonly #monotonicMs: () => number
  readonly #devices = new Map<string, Tried>()
  #failing = 0
  #half = 0
  /** Of this half, and of the one before. */
  #events: [number, number] = [0, 0]
  #sinceMs: number

  constructor(options: KillSwitchOptions, monotonicMs: () => number) {
    this.#options = options
    this.#monotonicMs = monotonicMs
    this.#sinceMs = monotonicMs()
  }

  tried(device: string, failed: boolean): void {
    this.#slide()
    this.#events[0]++
    const before = this.#devices.get(device)
    if (before === undefined && this.#devices.size >= devicesMax) return
    const failuresBefore = before?.failures ?? 0
    this.#failing += Number(failed) - Number(failuresBefore > 0)
    this.#devices.set(device, { failures: failed ? failuresBefore + 1 : 0, half: this.#half })
  }

  /**
   * An event that was not tried, for it waits behind one of its device that failed: without that it would be one failure more. Answers
   * whether the verdict may be asked for because of it; of what was not seen to fail within the window nothing is believed.
   */
  waited(device: string): boolean {
    this.#slide()
    const failures = this.#devices.get(device)?.failures ?? 0
    if (failures === 0) return false
    this.#events[0]++
    this.#devices.set(device, { failures, half: this.#half })
    return failures >= failuresMin
  }

  /** Why the group is believed to be broken, in words; undefined while it is not. */
  verdict(): string | undefined {
    this.#slide()
    const { after, share } = this.#options
    const events = this.#events[0] + this.#events[1]
    const [devices, failing] = [this.#devices.size, this.#failing]
    if (events < after || failing < failingDevicesMin || failing < share * devices) return undefined
    return `${failing} of ${devices} devices fail, of ${events} events`
  }

  /** As if nothing had been tried yet. */
  forget(): void {
    this.#devices.clear()
    this.#failing = 0
    this.#events = [0, 0]
    this.#sinceMs = this.#monotonicMs()
  }

  #slide(): void {
    const halfMs = this.#options.windowMs / 2
    const halves = Math.floor((this.#monotonicMs() - this.#sinceMs) / halfMs)
    if (halves < 1) return
    this.#half += halves
    this.#sinceMs += halves * halfMs
    this.#events = [0, halves === 1 ? this.#events[0] : 0]
    for (const [device, { failures, half }] of this.#devices) {
      if (half >= this.#half - 1) continue
      this.#devices.delete(device)
      this.#failing -= Number(failures > 0)
    }
  }
}
