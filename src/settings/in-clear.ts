import { TidegateError } from '../errors.ts'
import { isLoopback } from '../listen.ts'
import type { Logger } from '../log.ts'

/** A way out of this process to a server. */
export interface Way {
  /** The key of its address, as in `uplink.url`. */
  key: 'uplink.url' | 'broker.url' | 'broker.management' | 'database.url'
  /** A name or an address; a folder is a socket of this machine. */
  host: string
  /** What TLS does for it: proves the server, hides from others and proves nothing, or nothing. */
  tls: 'verified' | 'unverified' | 'none'
  /** Asked for by name, with `insecure: true` beside the address. */
  insecure: boolean
}

/**
 * Why others could read what goes this way, the password first, or answer in the server's place; undefined if they cannot: TLS proves
 * the server, or nothing leaves this machine.
 */
export function exposureOf({ key, host, tls }: Way): string | undefined {
  if (tls === 'verified' || host.startsWith('/') || isLoopback(host)) return undefined
  return tls === 'none'
    ? `${key} leads to ${host} in clear: whoever is on the way reads the password and the events`
    : `${key} leads to ${host} over TLS that proves nobody: whoever answers gets the password and the events`
}

/**
 * Refuses a way that is open to others, unless it was asked for by name; that is told in the log.
 * @throws TidegateError `CONNECTION_IN_CLEAR`
 */
export function refuseInClear(way: Way, log?: Logger): void {
  const exposure = exposureOf(way)
  if (exposure === undefined) return
  if (way.insecure) return log?.warn({ code: 'CONNECTION_IN_CLEAR' }, exposure)
  throw new TidegateError('CONNECTION_IN_CLEAR', {
    message: exposure,
    retryable: false,
    hint: `${remedies[way.key]}; if that network is yours alone, say so: ${way.key.replace(/\.\w+$/, '.insecure')}: true`,
  })
}

const remedies: Readonly<Record<Way['key'], string>> = {
  'uplink.url': 'use amqps://, with uplink.tls.ca',
  'broker.url': 'use amqps://, with broker.tls.ca',
  'broker.management': 'use https://',
  'database.url': 'add ?sslmode=verify-full&sslrootcert=/path/ca.crt',
}
