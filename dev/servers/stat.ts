import { readFileSync } from 'node:fs'

/** What the kernel says of a process. */
export interface ProcessStat {
  parentPid: string
  /** Its start, in clock ticks since boot. */
  startTicks: string
}

/** Fields 4 and 22 of proc_pid_stat(5); undefined if there is no such process, or no /proc. */
export function statOf(pid: number): ProcessStat | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The second field may itself hold spaces and brackets.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return { parentPid: fields[1] ?? '', startTicks: fields[19] ?? '' }
  } catch {
    return undefined
  }
}
