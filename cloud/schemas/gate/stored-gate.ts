import { registryOf } from '../../../src/schemas/registry.ts'
import { loadUpcasts } from '../../../src/schemas/upcast/folder.ts'
import { rulesFor } from '../checks.ts'
import { createEventJudge } from './event-judge.ts'
import type { Gate, StoredVerdict } from './gate.ts'
import type { Stored } from './stored.ts'
import { targetsOf } from './targets.ts'
import { TypeGate } from './type-gate.ts'

/**
 * First asks the shapes, which know what there was in each week without a look at it, and excludes nothing that could fail; then reads, with the validators and upcasters of
 * the cloud, the partitions that could. One page is in memory and the next under way.
 */
export function storedGate(stored: Stored): Gate {
  return {
    async judge(folder, checked, { signal, onProgress, formats = 'checked', upcasts } = {}) {
      const registry = registryOf(folder.types)
      const judge = createEventJudge(registry, upcasts ?? (await loadUpcasts(folder.source, registry)))
      const standing = await stored.standing(checked.types.map(({ type }) => type))
      const parts = { folder, judge, stored, standing, rules: rulesFor(formats), signal, onProgress }
      const verdicts: StoredVerdict[] = []
      for (const one of checked.types) {
        signal?.throwIfAborted()
        const targets = targetsOf(folder, one)
        if (targets.length > 0) verdicts.push(...(await new TypeGate(parts, one.type, targets).judge()))
      }
      const { upTo, shapes } = standing
      return {
        ok: verdicts.every(({ groups }) => groups.every(({ standing: is }) => is !== 'fails')),
        upTo,
        ...('why' in shapes && { withoutShapes: shapes.why }),
        ...('state' in shapes && { shapesAre: shapes.state }),
        verdicts,
      }
    },
  }
}
