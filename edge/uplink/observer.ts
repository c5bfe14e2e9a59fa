/** What the forwarder tells whoever watches it. Must not throw. */
export interface ForwarderObserver {
  uplink(up: boolean): void
  /** Events confirmed, routed and released (G3); `lagMs` is the oldest one's time from admission to proof. */
  forwarded(events: number, lagMs: number): void
  /** Published and not confirmed yet: how many, and when the oldest was sent, by the monotonic clock. */
  unconfirmed(events: number, oldestSentAtMs: number | undefined): void
  /** From publish to the publisher confirm of one message. */
  confirmed(latencyMs: number): void
  /** The exchange took a message but did not route it, or refused it, and with it all of its events. */
  refused(code: string, events: number): void
}

export const silentForwarderObserver: ForwarderObserver = {
  uplink() {},
  forwarded() {},
  unconfirmed() {},
  confirmed() {},
  refused() {},
}
