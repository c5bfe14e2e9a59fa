import { cpus, loadavg, release } from 'node:os'
import type { Machine } from './results.ts'

/** The machine, and how busy it is now: read before a case begins. */
export function thisMachine(): Machine {
  const cores = cpus()
  return {
    cores: cores.length,
    model: cores[0]?.model.trim() ?? 'unknown',
    node: process.version,
    kernel: release(),
    loadBefore: Math.round((loadavg()[0] ?? Number.NaN) * 100) / 100,
  }
}
