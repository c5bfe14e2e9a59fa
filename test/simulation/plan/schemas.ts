import type { SchemaRegistry } from '../../../src/schemas/registry.ts'
import type { Upcasts } from '../../../src/schemas/upcast/chain.ts'
import { applySteps, type Step } from '../../../src/schemas/upcast/steps.ts'

/** Types that devices of the simulation send. */
export const types = {
  reading: 'sim.reading',
  alarm: 'sim.alarm',
  brief: 'sim.brief',
} as const

/** Version 2 of a reading has its number under another name: it takes nothing of version 1. */
export const upcasts: Upcasts = {
  find: (type, from, to) =>
    type === types.reading && from === 1
      ? { from, to, steps, apply: (data) => applySteps(data, steps) }
      : undefined,
}
const steps: readonly Step[] = [{ kind: 'move', from: ['value'], to: ['level'] }]

/**
 * A registry in memory. The edge's lets everything with a number pass, the cloud's also wants it below 1000, and knows version 2 of a
 * reading only from when somebody brings it.
 */
export function schemasOf(side: 'edge' | 'cloud', knowsNewer: () => boolean = () => true): SchemaRegistry {
  const known: readonly string[] = Object.values(types)
  const versions = (type: string): number[] =>
    !known.includes(type) ? [] : type === types.reading && knowsNewer() ? [1, 2] : [1]
  return {
    types: known,
    latest: (type) => versions(type).at(-1),
    versions,
    retired: () => new Set(),
    firstFault(type, version, data) {
      const [message] = this.faults(type, version, data)
      return message === undefined ? undefined : { instancePath: '', keyword: 'fake', params: {}, message }
    },
    has: (type, version) => versions(type).includes(version),
    faults(_type, version, data) {
      const name = version === 1 ? 'value' : 'level'
      const value = (data as Record<string, unknown> | null)?.[name]
      if (typeof value !== 'number') return [`data.${name}: must be number`]
      return side === 'cloud' && value >= 1000 ? [`data.${name}: must be < 1000`] : []
    },
  }
}
