import type { ConnectionRefusal } from './identity.ts'

export interface RefusedConnection {
  detail: string
  address: string
  deviceId?: string
  /** The name in a certificate that was not accepted, or a user name whose password was not: anybody can write it there. */
  claimed?: string
}

/** Why one is not let in, and what its client is told, where it can be told. */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly reason: ConnectionRefusal
  readonly about: Omit<RefusedConnection, 'address' | 'detail'>
  /** Of a CONNACK (MQTT 3.1.1, 3.2.2.3); undefined: there is no CONNECT yet that it would answer. */
  readonly returnCode: number | undefined

  constructor(
    reason: ConnectionRefusal,
    detail: string,
    { returnCode, ...about }: Omit<RefusedConnection, 'address' | 'detail'> & { returnCode?: number } = {},
  ) {
    super(detail)
    this.reason = reason
    this.about = about
    this.returnCode = returnCode
  }
}
