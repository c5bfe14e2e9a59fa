import { statOf } from './servers/stat.ts'

const lookEveryMs = 1000

/**
 * Aborted when the npm that started us is gone: killed, it tells nobody, and the shell between it and us lives on.
 * Never aborted where no npm is involved; a shell that ends hangs up on us by itself.
 */
export function untilNpmIsGone(process: NodeJS.Process): AbortSignal {
  const controller = new AbortController()
  if (process.env['npm_lifecycle_event'] === undefined) return controller.signal
  const forebears = (): string => `${process.ppid} ${statOf(process.ppid)?.parentPid ?? ''}`
  const before = forebears()
  const timer = setInterval(() => {
    if (forebears() === before) return
    clearInterval(timer)
    controller.abort()
  }, lookEveryMs)
  timer.unref()
  return controller.signal
}
