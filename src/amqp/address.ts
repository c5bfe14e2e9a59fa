/** What an AMQP URL leads to, in the forms in which Node's sockets take it. */
export interface Dialling {
  /** A name, or an address without the brackets that it has in a URL. */
  host: string
  /** The name that the broker's certificate is to have, where the URL's is written otherwise. */
  servername?: string
  /** Longest that one of a name's addresses is waited for while there are others, ms. */
  autoSelectFamilyAttemptTimeout: number
}

/** Node tries the addresses of a name one after the other, those of IPv4 and IPv6 in turn. */
const families = 2

/**
 * Node gives an address up after 250 ms by itself when a name has more than one, and over a satellite that is less than one round
 * trip: then none is ever reached. Here the limit is ours: half of what a connection may take, so that an address that is
 * dead leaves time for another. A third is not come to when two do not answer.
 */
export function attemptTimeoutMs(connectTimeoutMs: number): number {
  return Math.max(10, Math.floor(connectTimeoutMs / families))
}

/** @throws TypeError if it is no URL. */
export function diallingOf(url: string, connectTimeoutMs: number): Dialling {
  const host = new URL(url).hostname.replace(/^\[(.*)\]$/, '$1')
  return {
    host,
    // A name may end in the dot of the root; in a certificate, and in what TLS asks for, it does not.
    ...(host.endsWith('.') && { servername: host.slice(0, -1) }),
    autoSelectFamilyAttemptTimeout: attemptTimeoutMs(connectTimeoutMs),
  }
}

/** The virtual host; `/` if the URL names none. */
export function vhostOf(url: string): string {
  return decodeURIComponent(vhostIn(new URL(url))) || '/'
}

/** As it is written; a `/` at its end is none of it, as the client reads it. */
function vhostIn({ pathname }: URL): string {
  return pathname.slice(1).replace(/\/$/, '')
}

/** Whom an AMQP URL names, if it names anybody. */
export function userOf(url: string): string | undefined {
  return decodeURIComponent(new URL(url).username) || undefined
}

/** host:port, without user and password: fit for logs. */
export function whereOf(url: string): string {
  const { hostname, port, protocol } = new URL(url)
  return `${hostname}:${port || (protocol === 'amqps:' ? '5671' : '5672')}`
}

/** Where an AMQP URL leads, and what TLS does for it: the client speaks TLS when it is given files for it, whatever the scheme is. */
export function amqpWay(url: string, hasTls: boolean): { host: string; tls: 'verified' | 'none' } {
  const { protocol, hostname } = new URL(url)
  return { host: hostname, tls: hasTls || protocol === 'amqps:' ? 'verified' : 'none' }
}

/** What is wrong with an AMQP URL, for a person; undefined if nothing is, or if it is none at all. */
export function faultOfAmqpUrl(text: string): string | undefined {
  if (!URL.canParse(text)) return undefined
  const url = new URL(text)
  const { hostname, username, password, pathname } = url
  if (hostname === '') return 'names no host'
  if (!isPercentEncoded(username + password))
    return 'user and password must be percent-encoded: a % in them is written %25'
  if (!isPercentEncoded(pathname)) return 'the virtual host must be percent-encoded: a % in it is written %25'
  if (vhostIn(url).includes('/')) return 'a / in the name of a virtual host is written %2F'
  return undefined
}

function isPercentEncoded(text: string): boolean {
  try {
    decodeURIComponent(text)
    return true
  } catch {
    return false
  }
}
