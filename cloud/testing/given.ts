/** What a test says of an event; all else is made up. */
export interface GivenEvent {
  data?: unknown
  /** Default: `device-1`. */
  device?: string
  /** Default: one that no other has. */
  id?: string
  /** RFC 3339. Default: now, as the test's clock has it. */
  time?: string
  subject?: string
  /** Of the schema. Default: that which the consumer asks for, else the newest. */
  version?: number
}
