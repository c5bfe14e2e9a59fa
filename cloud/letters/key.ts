import { createHash } from 'node:crypto'
import { withoutHeaders } from '../../src/amqp/property-block.ts'
import type { Delivery } from '../amqp/delivery.ts'
import type { Claim } from '../database/storage.ts'

/** Written on the way, by the broker and by us: what is delivered again may have others. */
const onTheWay = /^(tidegate-|x-(death|first-death|last-death|delivery-count|acquired-count|opt-))/

/**
 * What is the same whenever the same is delivered (G5): SHA-256 of an event's identity, `event\n<source>\n<id>`, with `\n<generation>`
 * behind it where a replay has one. What is no event, or
 * none that is believed, must not take the place of one: that is known by its properties, but for what was written on the way, and its
 * body, `message\n<length of the properties>\n<properties><body>`; by its body alone where the properties cannot be read.
 */
export function letterKey(
  delivery: Pick<Delivery, 'propertyBlock' | 'text'>,
  event: Claim | undefined,
): Buffer {
  const hash = createHash('sha256')
  if (event) {
    const { source, id, generation } = event
    return hash
      .update([`event\n${source}\n${id}`, ...(generation === undefined ? [] : [generation])].join('\n'))
      .digest()
  }
  const block = withoutHeaders(delivery.propertyBlock, (name) => onTheWay.test(name)) ?? Buffer.alloc(0)
  return hash.update(`message\n${block.length}\n`).update(block).update(delivery.text).digest()
}
