import { expect, test } from 'vitest'
import { faultOfPayload, strangeDecoders, strangePayload } from '../../proof/strange-payloads.ts'

/** `npm run fuzz` takes more of them, of another seed each time. */
const seeds = [1, 14, 2026]
const payloads = 3000

test.each(Object.keys(strangeDecoders))(
  'what nobody means as %s is refused, or is JSON within its bounds, and nothing else comes of it (G7)',
  (kind) => {
    let read = 0
    for (const seed of seeds) {
      for (let index = 0; index < payloads; index += 1) {
        const payload = strangePayload(seed, index, kind)
        const fault = faultOfPayload(kind, payload)
        expect(fault, `seed ${seed}, payload ${index}: ${payload.toString('hex')}`).toBeUndefined()
        if (strangeDecoders[kind]?.(payload).ok) read += 1
      }
    }
    // Some of it has to be read, or nothing was looked at.
    expect(read).toBeGreaterThan(5)
  },
)
