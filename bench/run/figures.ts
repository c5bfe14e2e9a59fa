/** Everything that is measured: what it is called in a table, in which digits it is told, and which way is better. */
export const figures = {
  eventsPerSecond: { title: 'events/s', digits: 0, better: 'more' },
  cpuMicros: { title: 'CPU µs/event', digits: 1, better: 'less' },
  memoryMiB: { title: 'memory MiB', digits: 0, better: 'less' },
  ownMemoryMiB: { title: 'without mapped files MiB', digits: 0, better: 'less' },
  wireBytes: { title: 'bytes/event on the wire', digits: 0, better: 'less' },
  connackMs: { title: 'first CONNACK ms', digits: 0, better: 'less' },
  readyMs: { title: 'ready ms', digits: 0, better: 'less' },
  p50Ms: { title: 'PUBACK p50 ms', digits: 2, better: 'less' },
  p99Ms: { title: 'PUBACK p99 ms', digits: 2, better: 'less' },
  timesUndisturbed: { title: 'p99 : undisturbed', digits: 1, better: 'less' },
  unanswered: { title: 'unanswered', digits: 0, better: 'less' },
  brokerP50Ms: { title: 'in RabbitMQ p50 ms', digits: 1, better: 'less' },
  brokerP99Ms: { title: 'in RabbitMQ p99 ms', digits: 1, better: 'less' },
  endP50Ms: { title: 'at the end p50 ms', digits: 1, better: 'less' },
  endP99Ms: { title: 'at the end p99 ms', digits: 1, better: 'less' },
  storeBytes: { title: 'bytes to the store per payload byte', digits: 2, better: 'less' },
  diskBytes: { title: 'bytes to the disk per payload byte', digits: 2, better: 'less' },
  fsyncsPerSecond: { title: 'fsyncs/s', digits: 0, better: 'less' },
  acknowledged: { title: 'acknowledged', digits: 0, better: 'more' },
  lost: { title: 'lost', digits: 0, better: 'less' },
  repeated: { title: 'repeated', digits: 0, better: 'less' },
} as const

export type FigureName = keyof typeof figures

export const figureNames = Object.keys(figures) as [FigureName, ...FigureName[]]

/** What one subject showed in one round. */
export type Sample = Partial<Record<FigureName, number>>

/** `15,200`, `0.43`: in the digits of its figure. */
export function figureText(name: FigureName, value: number): string {
  const { digits } = figures[name]
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}
