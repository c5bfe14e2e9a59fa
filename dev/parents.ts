import { readFileSync } from 'node:fs'

const lookEveryMs = 1000

/**
 * Aborted when the npm that started us is gone: killed, it tells nobody, and the shell between it and us lives on.
 * Never aborted where no npm is involved; a shell that ends hangs up on us by itself.
 */
export function untilNpmIsGone(process: NodeJS.Process): AbortSignal {
  const controller = new AbortController()
  if (process.env['npm_lifecycle_event'] === undefined) return controller.signal
  const forebears = (): string => `${process.ppid} ${parentOf(process.ppid)}`
  const before = forebears()
  const timer = setInterval(() => {
    if (forebears() === before) return
    clearInterval(timer)
    controller.abort()
  }, lookEveryMs)
  timer.unref()
  return controller.signal
}

/** Field 4 of proc_pid_stat(5); empty where there is no /proc. */
function parentOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] ?? ''
  } catch {
    return ''
  }
}
