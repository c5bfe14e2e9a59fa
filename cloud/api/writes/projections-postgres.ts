import {
  activeVersion,
  askJob,
  dropVersion,
  rebuildVersion,
  resumeVersion,
  switchVersion,
} from '../../projections/deeds-postgres.ts'
import type { ProjectionDeeds } from '../routes/workplace.ts'
import type { DoOnce } from './do-once.ts'

/** The key of the deed is that of its job: asked for again, it is the same one. */
export function projectionDeeds(doOnce: DoOnce): ProjectionDeeds {
  return {
    switchProjection: (deed) => doOnce('switch-projection', deed, (tx) => switchVersion(tx, deed.request)),
    rebuildProjection: (deed) => doOnce('rebuild-projection', deed, (tx) => rebuildVersion(tx, deed.request)),
    resumeProjection: (deed) => doOnce('resume-projection', deed, (tx) => resumeVersion(tx, deed.request)),
    dropProjection: (deed) => doOnce('drop-projection', deed, (tx) => dropVersion(tx, deed.request)),
    compareProjection: (deed) =>
      doOnce('compare-projection', deed, (tx) =>
        askJob(tx, { ...deed.request, job: deed.key, kind: 'compare', device: undefined }),
      ),
    rebuildDevice: (deed) =>
      doOnce('rebuild-projection-device', deed, async (tx) => {
        const { name, device, force } = deed.request
        const version = await activeVersion(tx, name)
        const job = { job: deed.key, kind: 'rebuild-device', sample: undefined } as const
        return askJob(tx, { name, version, device, force, ...job })
      }),
  }
}
