import type { Snapshot } from './snapshot.ts'

/** The course of a run: what the view showed, kept for the plots. */
export interface Recording {
  readonly samples: readonly Snapshot[]
  /** Deepest the buffer was seen. */
  readonly maxBuffered: number
}

export interface Recorder extends Recording {
  add(snapshot: Snapshot): void
}

/** A long run is kept in fewer samples, never in more memory (G7). */
const samplesMax = 4000

export function createRecorder(): Recorder {
  const samples: Snapshot[] = []
  let maxBuffered = 0
  let stride = 1
  let seen = 0
  return {
    samples,
    get maxBuffered() {
      return maxBuffered
    },
    add(snapshot) {
      maxBuffered = Math.max(maxBuffered, snapshot.buffered)
      seen += 1
      if (seen % stride !== 0) return
      samples.push(snapshot)
      if (samples.length < samplesMax) return
      samples.splice(0, samples.length, ...samples.filter((_, index) => index % 2 === 0))
      stride *= 2
    },
  }
}

/** Events per second of a growing count, over windows of about `windowMs`, each at the middle of its window. */
export function rates(
  samples: readonly Snapshot[],
  count: (snapshot: Snapshot) => number,
  windowMs: number,
): [seconds: number, perSecond: number][] {
  const points: [number, number][] = []
  let behind = 0
  for (const [index, sample] of samples.entries()) {
    while (behind < index - 1 && sample.elapsedMs - (samples[behind + 1]?.elapsedMs ?? 0) >= windowMs)
      behind += 1
    const before = samples[behind]
    if (!before || before === sample) continue
    const perSecond = ((count(sample) - count(before)) / (sample.elapsedMs - before.elapsedMs)) * 1000
    points.push([(before.elapsedMs + sample.elapsedMs) / 2000, Math.max(0, perSecond)])
  }
  return points
}
