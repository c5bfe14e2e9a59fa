import type { FigureName } from './figures.ts'

export type CaseName =
  | 'ingest'
  | 'latency'
  | 'outbox'
  | 'connack'
  | 'restart'
  | 'drain'
  | 'consume'
  | 'end-to-end'
  | 'write-amplification'

/** A case in words, and what of it is compared. What is measured stands in `bench/cases`. */
export interface CatalogueEntry {
  name: CaseName
  title: string
  /** How it is measured, and what the references do not promise. */
  about: string
  comparisons: readonly Comparison[]
  /** Figures whose bars are drawn. */
  plots?: readonly FigureName[]
  /** Its programs can be those of another checkout. */
  against?: true
}

/** A figure of one subject against that of another in the same rounds; without `to`, the figure itself. */
export interface Comparison {
  title: string
  figure: FigureName
  of: string
  to?: string
  aim?: Aim
}

/** Where it is done, where we want it, and beyond that. */
export interface Aim {
  done: number
  target: number
  stretch?: number
}

const bridge = 'Mosquitto → RabbitMQ MQTT → consumer'
const whole = 'Tidegate, device → PostgreSQL'

const latencies = ['10/s', '1,000/s', '10,000/s'].flatMap((rate): Comparison[] => [
  {
    title: `PUBACK p99 at ${rate} : Mosquitto in memory`,
    figure: 'p99Ms',
    of: `tidegate edge, ${rate}`,
    to: `Mosquitto, in memory, ${rate}`,
  },
  {
    title: `PUBACK p99 at ${rate} : bare aedes`,
    figure: 'p99Ms',
    of: `tidegate edge, ${rate}`,
    to: `bare aedes, ${rate}`,
  },
])

export const catalogue: readonly CatalogueEntry[] = [
  {
    name: 'ingest',
    title: 'Ingest over mutual TLS',
    about:
      '20 connections with 50 in flight, 200-byte CloudEvents with random UUIDs, QoS 1, uplink down; the edge has admitted, deduplicated, numbered, chained and fsynced an event before its PUBACK. Bare aedes and Mosquitto in memory store nothing. Mosquitto, durable, keeps a session for all topics with `persistence true`, `autosave_on_changes true`, `autosave_interval 1`: it saves everything after each change, but after the PUBACK, so that what was acknowledged since the last save is lost with a kill; and it slows down as its queue grows (4 s are measured).',
    against: true,
    plots: ['eventsPerSecond', 'cpuMicros'],
    comparisons: [
      {
        title: 'ingest, events/s : Mosquitto in memory',
        figure: 'eventsPerSecond',
        of: 'tidegate edge',
        to: 'Mosquitto, in memory',
        aim: { done: 0.45, target: 0.65, stretch: 1 },
      },
      {
        title: 'ingest, CPU per event : bare aedes',
        figure: 'cpuMicros',
        of: 'tidegate edge',
        to: 'bare aedes',
        aim: { done: 3.5, target: 2.5, stretch: 2 },
      },
      {
        title: 'ingest, events/s : bare aedes',
        figure: 'eventsPerSecond',
        of: 'tidegate edge',
        to: 'bare aedes',
      },
      {
        title: 'ingest, events/s : Mosquitto, durable',
        figure: 'eventsPerSecond',
        of: 'tidegate edge',
        to: 'Mosquitto, durable',
      },
    ],
  },
  {
    name: 'latency',
    title: 'Time to the PUBACK',
    about:
      'At rates that are kept whatever comes back (an open loop), over mutual TLS on 20 connections; from when an event is due to its PUBACK. The edge has fsynced by then; the others have stored nothing.',
    against: true,
    plots: ['p50Ms', 'p99Ms'],
    comparisons: latencies,
  },
  {
    name: 'outbox',
    title: 'The outbox alone',
    about:
      '200,000 appends, 1000 in flight, with so many random UUIDs remembered. The reference writes the same texts to LevelDB in synced batches of 400, without numbers, chain or deduplication.',
    against: true,
    comparisons: [
      {
        title: 'outbox, events/s : bare LevelDB',
        figure: 'eventsPerSecond',
        of: '10 k IDs remembered',
        to: 'bare LevelDB',
      },
      {
        title: 'outbox, events/s at 1 M remembered : at 10 k',
        figure: 'eventsPerSecond',
        of: '1 M IDs remembered',
        to: '10 k IDs remembered',
      },
      {
        title: 'outbox, events/s at 10 M remembered : at 10 k',
        figure: 'eventsPerSecond',
        of: '10 M IDs remembered',
        to: '10 k IDs remembered',
        aim: { done: 0.93, target: 0.97, stretch: 1 },
      },
    ],
  },
  {
    name: 'connack',
    title: 'From the start to the first CONNACK',
    about:
      '`tidegate edge` started on a folder with so many events queued; memory three seconds later. It waits for the current generation of remembered IDs, and for the sorting of one that was closed in the second before the stop. Memory without mapped files leaves out the tables of LevelDB, whose pages are the kernel’s to take back; what is read at the start touches the whole young generation of the heap, as traffic does. Most of what a connection weighs is TLS in the runtime: bare aedes beside it keeps nothing.',
    comparisons: [
      {
        title: 'first CONNACK, 1 M queued : empty',
        figure: 'connackMs',
        of: '1 M queued',
        to: 'empty',
        aim: { done: 1.1, target: 1.05 },
      },
      {
        title: 'memory, 1 M queued : empty',
        figure: 'memoryMiB',
        of: '1 M queued',
        to: 'empty',
        aim: { done: 1.25, target: 1.1 },
      },
      {
        title: 'memory MiB, 1,000 connections and 1 M queued',
        figure: 'memoryMiB',
        of: '1 M queued, 1,000 connections',
        aim: { done: 150, target: 128, stretch: 100 },
      },
      {
        title: 'memory, 1,000 connections and 1 M queued : 1,000 connections of bare aedes',
        figure: 'memoryMiB',
        of: '1 M queued, 1,000 connections',
        to: 'bare aedes, 1,000 connections',
      },
    ],
  },
  {
    name: 'restart',
    title: 'Opening the outbox',
    about: 'The outbox alone, from opening to ready, in a process of its own each time.',
    comparisons: [
      {
        title: 'ready after kill -9, 1 M queued : empty',
        figure: 'readyMs',
        of: '1 M queued, after kill -9',
        to: 'empty, after kill -9',
      },
      {
        title: 'own memory, 1 M queued : empty',
        figure: 'ownMemoryMiB',
        of: '1 M queued, after a stop',
        to: 'empty, after a stop',
      },
    ],
  },
  {
    name: 'drain',
    title: 'Draining a backlog',
    about:
      'A backlog leaves `tidegate edge` for the quorum queues of RabbitMQ, window 1000, while 200 new events a second come in; their time from the device to RabbitMQ is shown. With that window and 16 partitions a batch holds some 30 events: half a window goes at a time. The reference is confirmed publishing of single events that are in memory already.',
    against: true,
    plots: ['eventsPerSecond'],
    comparisons: [
      {
        title: 'drain, events/s : bare confirmed publishing',
        figure: 'eventsPerSecond',
        of: 'batches',
        to: 'bare publishing',
        aim: { done: 2.5, target: 4, stretch: 6 },
      },
      {
        title: 'drain, bytes on the wire, deflated : single events',
        figure: 'wireBytes',
        of: 'batches, deflated',
        to: 'single events',
        aim: { done: 0.25, target: 0.15, stretch: 0.12 },
      },
      {
        title: 'drain of single events, events/s : bare confirmed publishing',
        figure: 'eventsPerSecond',
        of: 'single events',
        to: 'bare publishing',
      },
    ],
  },
  {
    name: 'consume',
    title: 'Consuming into PostgreSQL',
    about:
      'The history group of `tidegate cloud`, committed to PostgreSQL, of single events and of batches of 100. The reference is the bare client, which acknowledges single events and forgets them. PostgreSQL’s own CPU is not counted.',
    against: true,
    plots: ['eventsPerSecond'],
    comparisons: [
      {
        title: 'consume (history), events/s : bare client',
        figure: 'eventsPerSecond',
        of: 'batches',
        to: 'bare client',
        aim: { done: 1, target: 1.5, stretch: 2 },
      },
      {
        title: 'consume of single events, events/s : bare client',
        figure: 'eventsPerSecond',
        of: 'single events',
        to: 'bare client',
      },
    ],
  },
  {
    name: 'end-to-end',
    title: 'From the device to the end',
    about:
      'What people do today: devices → Mosquitto (`persistence true`, queues unbounded) → its bridge, QoS 1 → RabbitMQ’s MQTT plugin → one quorum queue → a consumer without a database. Against: devices → `tidegate edge` → RabbitMQ → `tidegate cloud` → a committed row in PostgreSQL. TLS with client certificates on every connection but that to PostgreSQL. The rate is of a flood, from the first event sent to the last at the end; CPU is of all programs but PostgreSQL. Latencies are at 500 events/s, each from when the event is due: to its PUBACK, to a queue beside the others in RabbitMQ, to the end. Events lost had a PUBACK, and repeated ones came to the end twice; the database keeps each event once, whatever is sent again. One kill -9 each at 1,000 events/s, and one of what is at the site three seconds after RabbitMQ was killed, as when the uplink is down and then the power fails.',
    plots: ['eventsPerSecond'],
    comparisons: [
      {
        title: 'end to end, events/s : Mosquitto bridge → RabbitMQ MQTT → bare consumer',
        figure: 'eventsPerSecond',
        of: whole,
        to: bridge,
        aim: { done: 2, target: 3, stretch: 4 },
      },
      {
        title: 'end to end, time to the end p99 : Mosquitto bridge',
        figure: 'endP99Ms',
        of: `${whole}, 500/s`,
        to: `${bridge}, 500/s`,
      },
    ],
  },
  {
    name: 'write-amplification',
    title: 'Bytes written',
    about:
      'By the outbox for each byte of event text: what it gives to the store, and what the kernel counts as written to disk. At all rates but the last every event is delivered soon after. Small batches cost most: a synced write dirties whole pages, and an event is written once to the log and once or more to tables.',
    comparisons: [
      {
        title: 'written bytes per payload byte at full speed',
        figure: 'diskBytes',
        of: 'full speed',
        aim: { done: 5, target: 4, stretch: 3 },
      },
    ],
  },
]

export const ends = { bridge, whole }
