import { lookup } from 'node:dns/promises'
import { createServer } from 'node:net'
import { codeOf, messageOf, TidegateError } from '../errors.ts'
import { listen } from '../listen.ts'
import { type KeyPair, renewDays } from '../tls-files.ts'
import type { ClientTls } from './client-tls.ts'
import { exposureOf, refuseInClear, type Way } from './in-clear.ts'

/** What was seen; a warning is something that works today. */
export interface Seen {
  text: string
  warning?: boolean
}

/** One thing that is looked at before a start, named as in the configuration. What it throws is a fault. */
export interface Look {
  what: string
  look: () => Promise<Seen> | Seen
}

/** What `--check` prints, and whether a start would fail. */
export interface Checked {
  text: string
  ok: boolean
}

/** Looks at everything, one after the other, and says of each what was seen. */
export async function checkAll(looks: readonly Look[]): Promise<Checked> {
  const widest = Math.max(...looks.map(({ what }) => what.length))
  const lines: string[] = []
  let faults = 0
  let warnings = 0
  for (const { what, look } of looks) {
    const name = what.padEnd(widest)
    try {
      const { text, warning = false } = await look()
      if (warning) warnings += 1
      lines.push(`${warning ? 'warn ' : 'ok   '} ${name}  ${text}`)
    } catch (error) {
      faults += 1
      lines.push(`FAULT ${name}  ${messageOf(error)} (${codeOf(error)})`)
      if (error instanceof TidegateError) lines.push(`      ${' '.repeat(widest)}  ${error.hint}`)
    }
  }
  const warned = warnings === 0 ? '' : `, ${warnings} ${warnings === 1 ? 'warning' : 'warnings'}`
  const verdict =
    faults === 0
      ? `It would start${warned}.`
      : `It would not start: ${faults} ${faults === 1 ? 'fault' : 'faults'}${warned}.`
  return { text: [...lines, verdict].join('\n'), ok: faults === 0 }
}

export function seenCertificate({ commonName, notAfter, daysLeft, warnings }: KeyPair): Seen {
  const ends = `CN=${commonName}, until ${notAfter.toISOString().slice(0, 10)} (${daysLeft} days left)`
  const said = [...(daysLeft < renewDays ? ['renew it'] : []), ...warnings]
  return said.length === 0 ? { text: ends } : { text: `${ends}: ${said.join('; ')}`, warning: true }
}

/**
 * How a client reaches its server: whether what it says can be read on the way.
 * @throws TidegateError `CONNECTION_IN_CLEAR`
 */
export function seenClientTls(way: Way, tls: ClientTls | undefined): Seen {
  if (tls?.pair) return seenCertificate(tls.pair)
  if (tls) return { text: 'a CA alone: the server sees no certificate' }
  if (way.tls === 'verified') return { text: 'not set: the CAs that Node.js knows are trusted' }
  refuseInClear(way)
  const exposure = exposureOf(way)
  return exposure === undefined
    ? { text: 'not set: nothing leaves this machine' }
    : { text: exposure, warning: true }
}

/** @throws TidegateError `PORT_TAKEN` | `LISTEN_FAILED` */
export async function seenPort(host: string, port: number, what: string): Promise<Seen> {
  const server = createServer()
  try {
    await listen(server, port, host, what)
    return { text: port === 0 ? `${host}, any port that is free` : `${host}:${port} is free` }
  } finally {
    server.close()
  }
}

/** Whether the host of an address has one; `needed`: a start waits for it, and ends without. */
export async function seenAddress(url: string, { needed }: { needed: boolean }): Promise<Seen> {
  const { protocol, hostname } = new URL(url)
  const host = hostname.replace(/^\[(.*)\]$/, '$1')
  try {
    const found = await lookup(host, { all: true })
    return { text: `${protocol}//${hostname} is ${found.map(({ address }) => address).join(', ')}` }
  } catch (cause) {
    if (!needed)
      return {
        text: `${hostname} has no address (${codeOf(cause)}): events wait until it has`,
        warning: true,
      }
    throw new TidegateError('ADDRESS_UNKNOWN', {
      message: `${hostname} has no address`,
      retryable: true,
      hint: 'see that the name is right, and that this machine can ask a DNS server',
      cause,
    })
  }
}
