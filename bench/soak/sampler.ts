import { readdirSync } from 'node:fs'
import { scrape } from '../../dev/watch/scrape.ts'
import { diskBytesOf, memoryOf } from '../run/process.ts'
import type { Reading } from './growth.ts'

/** Reads a program's /proc and its /metrics. */
export async function readingOf(
  { pid, opsUrl, side }: { pid: number; opsUrl: string; side: 'edge' | 'cloud' },
  atMs: number,
): Promise<Reading> {
  const metrics = await scrape(`${opsUrl}/metrics`, new AbortController().signal)
  const lagSeconds = metrics?.value(`tidegate_${side}_nodejs_eventloop_lag_p99_seconds`)
  return {
    atMs,
    memoryMiB: memoryOf(pid).memoryMiB,
    handles: readdirSync(`/proc/${pid}/fd`).length,
    diskBytes: diskBytesOf(pid),
    eventLoopP99Ms: lagSeconds === undefined ? undefined : lagSeconds * 1000,
    queued: metrics?.value('tidegate_edge_outbox_events'),
  }
}
