import { deviceIdPattern } from './event.ts'
import { TidegateError } from '../errors.ts'
import { readPem } from '../pem-files.ts'
import { plainSerial } from './serial.ts'

/** Who is not let in, whatever their certificates are worth. */
export interface Denied {
  devices: ReadonlySet<string>
  /** Of certificates, of intermediates too, whoever issued them. */
  serials: ReadonlySet<string>
}

export const nobodyDenied: Denied = { devices: new Set(), serials: new Set() }

const faultsShownMax = 5
const serialPattern = /^-?[0-9a-f]+(:[0-9a-f]+)*$/i

/** @throws TidegateError `TLS_FILE_MISSING` | `TLS_FILE_UNREADABLE` | `DENIED_INVALID` */
export function loadDenied(file: string): Denied {
  return parseDenied(readPem(file, 'the MQTT listener (mqtt.tls.denied)').toString('utf8'), file)
}

/**
 * One entry a line, `device <ID>` or `serial <hex>`, comments from a `#` on, and a last line `end`: without it the file has lost its
 * end, or all of it, while it was written, and with that those who were denied. `file` is for messages.
 * @throws TidegateError `DENIED_INVALID`
 */
export function parseDenied(text: string, file: string): Denied {
  const devices = new Set<string>()
  const serials = new Set<string>()
  const faults: string[] = []
  let hasEnded = false
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const words = line.replace(/#.*/, '').trim()
    if (words === '') continue
    if (hasEnded) {
      faults.push(`line ${index + 1} is behind its end`)
      continue
    }
    if (words === 'end') {
      hasEnded = true
      continue
    }
    const [kind, value = '', ...rest] = words.split(/\s+/)
    if (kind === 'device' && rest.length === 0 && deviceIdPattern.test(value)) devices.add(value)
    else if (kind === 'serial' && rest.length === 0 && serialPattern.test(value))
      serials.add(plainSerial(value))
    else faults.push(`line ${index + 1}: ${JSON.stringify(words.slice(0, 100))}`)
  }
  if (faults.length > 0) throw invalid(`${file} has lines that cannot be read: ${shown(faults)}`)
  if (!hasEnded) throw invalid(`${file} is cut off: its last line is not \`end\``)
  return { devices, serials }
}

function shown(faults: readonly string[]): string {
  const more = faults.length > faultsShownMax ? `, and ${faults.length - faultsShownMax} more` : ''
  return faults.slice(0, faultsShownMax).join(', ') + more
}

function invalid(message: string): TidegateError {
  return new TidegateError('DENIED_INVALID', {
    message,
    retryable: false,
    hint: 'each line is `device <ID>` or `serial <hex digits>`, with `#` before a comment, and the last is `end`, alone where nobody is denied',
  })
}
