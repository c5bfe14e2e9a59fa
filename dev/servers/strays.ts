import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { basename, sep } from 'node:path'
import { systemClock } from '../../src/clock.ts'

/** What RabbitMQ and PostgreSQL consist of. A person's shell standing in the folder is not ours to end. */
const programs = new Set(['beam.smp', 'epmd', 'erl_child_setup', 'inet_gethost', 'postgres'])

/** Server processes that work inside `folder`, whoever their parent is. */
export function processesIn(folder: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => worksIn(pid, folder))
}

/** A leash that lost its parent may take its server's whole grace to stop it. */
export const leashPatienceMs = 16_000

/**
 * Resolves when no server process works inside `folder`. Those of a run that just died are given `patienceMs`
 * to end by themselves (their leash is stopping them); what is left then is killed.
 */
export async function clearStrays(folder: string, patienceMs: number, signal?: AbortSignal): Promise<void> {
  const patientUntilMs = systemClock.monotonicMs() + patienceMs
  for (let strays = processesIn(folder); strays.length > 0; strays = processesIn(folder)) {
    if (systemClock.monotonicMs() > patientUntilMs) strays.forEach(killNow)
    await systemClock.sleep(50, signal)
  }
}

function worksIn(pid: number, folder: string): boolean {
  try {
    const cwd = readlinkSync(`/proc/${pid}/cwd`)
    return (cwd === folder || cwd.startsWith(folder + sep)) && programs.has(programOf(pid))
  } catch {
    return false
  }
}

function programOf(pid: number): string {
  return basename(readFileSync(`/proc/${pid}/comm`, 'utf8').trim())
}

function killNow(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // Gone between the look and the kill, which is what was wanted.
  }
}
