/** When a group is believed to be broken, and not the events that it gets. */
export interface KillSwitchOptions {
  /** Events that were tried within the window, at the least. */
  after: number
  /** Of the devices that were tried within the window, so many failed: 0.5 is half of them. */
  share: number
  windowMs: number
}

/** Whom more than a window brings are not counted: those that are, are as good a sample (G7). */
const devicesMax = 10_000
/** Of a fleet of two, one sick device is half. */
const failingDevicesMin = 3

interface Half {
  events: number
  /** Whether the newest attempt of a device failed. */
  devices: Map<string, boolean>
}

/**
 * Counts devices and not messages: one sick device with many messages must not stop a fleet, nor hide that the fleet fails. The window
 * slides by halves, so it is between a half and a whole of its length.
 */
export class KillSwitch {
  readonly #options: KillSwitchOptions
  readonly #monotonicMs: () => number
  #sinceMs: number
  #before: Half = empty()
  #now: Half = empty()

  constructor(options: KillSwitchOptions, monotonicMs: () => number) {
    this.#options = options
    this.#monotonicMs = monotonicMs
    this.#sinceMs = monotonicMs()
  }

  tried(device: string, failed: boolean): void {
    this.#slide()
    const { devices } = this.#now
    this.#now.events++
    if (devices.size < devicesMax || devices.has(device)) devices.set(device, failed)
  }

  /** Why the group is believed to be broken, in words; undefined while it is not. */
  verdict(): string | undefined {
    this.#slide()
    const { after, share } = this.#options
    const events = this.#before.events + this.#now.events
    if (events < after) return undefined
    const devices = new Map([...this.#before.devices, ...this.#now.devices])
    const failing = [...devices.values()].filter(Boolean).length
    if (failing < failingDevicesMin || failing < share * devices.size) return undefined
    return `${failing} of ${devices.size} devices fail, of ${events} events`
  }

  /** As if nothing had been tried yet. */
  forget(): void {
    this.#sinceMs = this.#monotonicMs()
    this.#before = empty()
    this.#now = empty()
  }

  #slide(): void {
    const halfMs = this.#options.windowMs / 2
    const passedMs = this.#monotonicMs() - this.#sinceMs
    if (passedMs < halfMs) return
    this.#before = passedMs < 2 * halfMs ? this.#now : empty()
    this.#now = empty()
    this.#sinceMs += Math.floor(passedMs / halfMs) * halfMs
  }
}

function empty(): Half {
  return { events: 0, devices: new Map() }
}
