/** A scrape of `/metrics`: sums over all labels unless some are asked for. */
export interface Metrics {
  /** Sum of the samples of a name whose labels include these; undefined if there is none. */
  value(name: string, labels?: Readonly<Record<string, string>>): number | undefined
}

interface Sample {
  labels: Readonly<Record<string, string>>
  value: number
}

/** Reads Prometheus' text format (exposition format 0.0.4); comments are passed over. */
export function parseMetrics(text: string): Metrics {
  const samples = new Map<string, Sample[]>()
  for (const line of text.split('\n')) {
    const match = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line)
    if (!match) continue
    const [, name = '', labels = '', value = ''] = match
    const list = samples.get(name)
    const sample = { labels: parseLabels(labels), value: Number(value.replace('Inf', 'Infinity')) }
    if (list) list.push(sample)
    else samples.set(name, [sample])
  }
  return {
    value(name, wanted = {}) {
      const matching = samples
        .get(name)
        ?.filter(({ labels }) => Object.entries(wanted).every(([key, value]) => labels[key] === value))
      if (matching === undefined || matching.length === 0) return undefined
      return matching.reduce((sum, { value }) => sum + value, 0)
    },
  }
}

function parseLabels(text: string): Record<string, string> {
  return Object.fromEntries(
    [...text.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key = '', value = '']) => [
      key,
      value.replaceAll(/\\(.)/g, (_, letter: string) => (letter === 'n' ? '\n' : letter)),
    ]),
  )
}

const patienceMs = 2000

/** Undefined while the program does not answer. */
export async function scrape(url: string, signal: AbortSignal): Promise<Metrics | undefined> {
  // Not AbortSignal.any with a timeout: Node 20 lets the timeout be collected, and a stopped program is waited for
  // for ever.
  const over = new AbortController()
  const giveUp = (): void => over.abort()
  const timer = setTimeout(giveUp, patienceMs)
  signal.addEventListener('abort', giveUp, { once: true })
  try {
    signal.throwIfAborted()
    const response = await fetch(url, { signal: over.signal })
    if (!response.ok) return undefined
    return parseMetrics(await response.text())
  } catch {
    return undefined
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', giveUp)
  }
}

/**
 * A counter as it would be had its program never been killed: what it lost by starting at 0 is added again. It
 * counts from `zero`, what the program had counted before we looked.
 */
export interface SteadyCounter {
  /** The reading of a scrape; undefined: none was to be had. Returns the total. */
  read(value: number | undefined): number
}

export function createSteadyCounter(zero = 0): SteadyCounter {
  let before = -zero
  let last = zero
  return {
    read(value) {
      if (value !== undefined) {
        if (value < last) before += last
        last = value
      }
      return before + last
    },
  }
}
