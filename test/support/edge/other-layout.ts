import { encodeHead, type Head } from '../../../edge/outbox/layout/head.ts'

/** A head or a mark, as a version of another layout would write it. */
export function ofLayout(version: number, head: string): string {
  return encodeHead({ ...(JSON.parse(head.slice(head.indexOf('\n'))) as Head), version })
}
