import { messageOf } from '../../src/errors.ts'
import type { Link } from '../../src/schemas/upcast/chain.ts'
import { generatedOf } from './compatibility/examples.ts'
import type { Version } from './compatibility/version.ts'
import type { Json } from './language/json.ts'

/** What upcasters make of generated documents of the earlier version. */
export interface Carried {
  tried: number
  failed: number
  /** The first that the later version does not take. */
  example?: Json
  fault?: string
}

const documentsMax = 200

/** Brings generated documents of `writer` forward and shows them to `reader`. */
export function carriedOf(writer: Version, reader: Version, links: readonly Link[]): Carried {
  const carried: Carried = { tried: 0, failed: 0 }
  for (const example of generatedOf(writer, reader, documentsMax)) {
    carried.tried += 1
    const fault = faultOfCarrying(example, links, reader)
    if (fault === undefined) continue
    carried.failed += 1
    if (carried.failed === 1) Object.assign(carried, { example, fault })
  }
  return carried
}

/** What becomes of a document that is brought forward; undefined: the later version takes it. */
export function faultOfCarrying(
  document: Json,
  links: readonly Link[],
  { validate }: Version,
): string | undefined {
  try {
    const carried = links.reduce<unknown>(
      (data, { upcast }) => (upcast ? upcast.apply(data) : data),
      document,
    )
    const fault = validate.first(carried)
    return fault && `${fault.instancePath || '/'} ${fault.message ?? fault.keyword}`
  } catch (error) {
    return messageOf(error).slice(0, 200)
  }
}
