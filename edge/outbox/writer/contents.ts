import type { OutboxStats } from '../outbox.ts'
import type { Core } from './core.ts'

type Contents = Pick<
  OutboxStats,
  | 'epoch'
  | 'lastSequence'
  | 'depth'
  | 'bytes'
  | 'backlog'
  | 'inFlight'
  | 'pausing'
  | 'devices'
  | 'rememberedIds'
>

/** What the outbox holds, by its counts: asking costs nothing, however much that is. */
export function contentsOf({ state, handed }: Core): Contents {
  const { head, devices, dedup, lanes } = state
  const waitMs = lanes.waitMs(head)
  return {
    epoch: head.epoch,
    lastSequence: head.position - head.epochBase,
    depth: { ...head.depth },
    bytes: { ...head.bytes },
    backlog: lanes.backlogLeft(),
    inFlight: handed.inFlight.size,
    pausing: handed.inFlight.size === 0 && waitMs > 0 && waitMs < Infinity,
    devices: devices.size,
    rememberedIds: dedup.count(),
  }
}
