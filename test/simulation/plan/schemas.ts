import type { SchemaRegistry } from '../../../src/schemas/registry.ts'

/** Types that devices of the simulation send. */
export const types = {
  reading: 'sim.reading',
  alarm: 'sim.alarm',
  brief: 'sim.brief',
} as const

/** A registry in memory. The edge's lets everything with a number pass, the cloud's also wants it below 1000. */
export function schemasOf(side: 'edge' | 'cloud'): SchemaRegistry {
  const known: readonly string[] = Object.values(types)
  return {
    types: known,
    latest: (type) => (known.includes(type) ? 1 : undefined),
    versions: (type) => (known.includes(type) ? [1] : []),
    retired: () => new Set(),
    firstFault(type, version, data) {
      const [message] = this.faults(type, version, data)
      return message === undefined ? undefined : { instancePath: '', keyword: 'fake', params: {}, message }
    },
    has: (type, version) => known.includes(type) && version === 1,
    faults(_type, _version, data) {
      const value = (data as { value?: unknown } | null)?.value
      if (typeof value !== 'number') return ['data.value: must be number']
      return side === 'cloud' && value >= 1000 ? ['data.value: must be < 1000'] : []
    },
  }
}
