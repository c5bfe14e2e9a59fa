import { readFileSync } from 'node:fs'

/** The kernel counts CPU time in these, µs: USER_HZ is 100 wherever Node runs. */
const tickMicros = 10_000

/** CPU time of a process, user and system, all threads, µs (proc_pid_stat(5), fields 14 and 15). */
export function cpuMicrosOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // The second field may itself hold spaces and brackets.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * tickMicros
}

/** Resident memory, MiB; `own` is without mapped files, whose pages are the kernel's to take back. */
export function memoryOf(pid: number): { memoryMiB: number; ownMemoryMiB: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const mebibytes = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) / 1024
  return { memoryMiB: mebibytes('VmRSS'), ownMemoryMiB: mebibytes('RssAnon') }
}

/** Bytes that a process caused to be sent to the disk (proc_pid_io(5), write_bytes). */
export function diskBytesOf(pid: number): number {
  return Number(/^write_bytes: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1])
}
