import { isDevicePattern } from '../../src/contract/event.ts'
import { TidegateError } from '../../src/errors.ts'

const faultsShownMax = 5

/**
 * Patterns of devices, one a line; comments from a `#` on, and empty lines, are left out. `file` is for messages.
 * @throws TidegateError `GATEWAY_DEVICES`
 */
export function parseDeviceFile(text: string, file: string): string[] {
  const patterns = new Set<string>()
  const faults: string[] = []
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const pattern = line.replace(/#.*/, '').trim()
    if (pattern === '') continue
    if (isDevicePattern(pattern)) patterns.add(pattern)
    else faults.push(`line ${index + 1}: ${JSON.stringify(pattern.slice(0, 100))}`)
  }
  if (faults.length > 0) {
    const more = faults.length > faultsShownMax ? `, and ${faults.length - faultsShownMax} more` : ''
    throw invalid(
      `${file} has lines that name no devices: ${faults.slice(0, faultsShownMax).join(', ')}${more}`,
    )
  }
  if (patterns.size === 0) throw invalid(`${file} names no device`)
  return [...patterns]
}

function invalid(message: string): TidegateError {
  return new TidegateError('GATEWAY_DEVICES', {
    message,
    retryable: false,
    hint: 'each line is the ID of a device, or the beginning of IDs and a *, with # before a comment',
  })
}
