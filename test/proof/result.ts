export interface CutsOptions {
  /** A virtual host of its own, as a user with every right, without TLS. */
  brokerUrl: string
  /** Of the middle, which shows it to its clients, and by which they trust it. */
  tls: { ca: Buffer; cert: Buffer; key: Buffer }
  seed: number | string
  /** Goes on until so many connections were cut. */
  cuts: number
  onRound?: (soFar: CutsResult) => void
}

export interface CutsResult {
  rounds: number
  cuts: number
  published: number
  /** Answers that were told, or deliveries that were acknowledged. */
  told: number
  /** What was told and was not so. */
  faults: string[]
}
