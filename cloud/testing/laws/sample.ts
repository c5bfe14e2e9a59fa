import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Random } from '../../../src/clock.ts'
import { TidegateError } from '../../../src/errors.ts'
import { schemaName, type SchemaRegistry } from '../../../src/schemas/registry.ts'
import type { Consumer } from '../../pipeline/definition.ts'
import type { GivenEvent } from '../given.ts'
import { documentOf, simpler } from './documents.ts'
import { between, pick } from './random.ts'
import { timesOf } from './times.ts'

/** An event of a case. */
export interface Sample extends Required<Pick<GivenEvent, 'device' | 'data' | 'time'>> {
  type: string
  /** Undefined: of a type without a schema, whose data the test gives. */
  version: number | undefined
}

export interface SamplesOptions {
  consumer: Consumer
  schemas: SchemaRegistry
  folder: string
  /** Data by type, in place of what would be made. */
  given: Readonly<Record<string, readonly unknown[]>>
  /** The versions of a type that may come. */
  versionsOf: (type: string) => readonly number[]
  /** When all of them have been recorded: none is later. */
  startMs: number
}

const triesMax = 200
const dayMs = 86_400_000

/** Makes events that a consumer may be handed. */
export class Samples {
  readonly #options: SamplesOptions
  readonly #kinds: readonly [Kind, ...Kind[]]
  readonly #read = new Map<string, unknown>()

  /** @throws TidegateError `LAW_WITHOUT_EVENTS` */
  constructor(options: SamplesOptions) {
    this.#options = options
    const { consumer, schemas, given, versionsOf } = options
    const types = [...new Set([...schemas.types, ...Object.keys(given)])].filter((type) =>
      consumer.wants(type),
    )
    const kinds = types.flatMap((type): Kind[] =>
      Object.hasOwn(given, type)
        ? [{ type, version: schemas.latest(type) }]
        : versionsOf(type).map((version) => ({ type, version })),
    )
    const [first, ...others] = kinds
    if (first === undefined)
      throw withoutEvents(`no schema of ${consumer.types.join(', ')} is in ${options.folder}`)
    this.#kinds = [first, ...others]
  }

  some(random: Random, countMax: number, devices: number): Sample[] {
    const samples = Array.from({ length: between(random, 2, countMax) }, () => this.#one(random, devices))
    const times = timesOf(
      samples.map(({ device }) => device),
      random,
    )
    return this.#at(samples, times)
  }

  /** The same events a minute apart, none of them late. */
  punctual(samples: readonly Sample[]): Sample[] {
    return this.#at(
      samples,
      samples.map((_, index) => index * 60_000),
    )
  }

  /** At so many ms after the beginning of a day, so that windows have a part in it. */
  #at(samples: readonly Omit<Sample, 'time'>[], timesMs: readonly number[]): Sample[] {
    const beginMs = (Math.floor(this.#options.startMs / dayMs) - samples.length - 1) * dayMs
    return samples.map((sample, index) => ({
      ...sample,
      time: new Date(beginMs + (timesMs[index] ?? 0)).toISOString(),
    }))
  }

  /** The same event, simpler by one step, as its schema allows. */
  simpler(sample: Sample): Sample[] {
    const plain = sample.device === 'device-1' ? [] : [{ ...sample, device: 'device-1' }]
    const data = simpler(sample.data).filter((one) => this.#isValid(sample, one))
    return [...plain, ...data.map((one) => ({ ...sample, data: one }))]
  }

  #one(random: Random, devices: number): Omit<Sample, 'time'> {
    const kind = pick(random, this.#kinds)
    const device = `device-${between(random, 1, devices)}`
    const [first, ...others] = this.#options.given[kind.type] ?? []
    if (first !== undefined) return { ...kind, device, data: pick(random, [first, ...others]) }
    const schema = this.#schemaOf(kind)
    for (let tries = 0; tries < triesMax; tries++) {
      const data = documentOf(schema, random)
      if (this.#isValid(kind, data)) return { ...kind, device, data }
    }
    throw withoutEvents(`no data was found that ${schemaName(kind.type, kind.version ?? 0)} allows`)
  }

  #isValid({ type, version }: Kind, data: unknown): boolean {
    return version === undefined || this.#options.schemas.faults(type, version, data).length === 0
  }

  #schemaOf({ type, version }: Kind): unknown {
    const file = join(this.#options.folder, type, `${version}.json`)
    if (!this.#read.has(file)) this.#read.set(file, JSON.parse(readFileSync(file, 'utf8')))
    return this.#read.get(file)
  }
}

interface Kind {
  type: string
  version: number | undefined
}

function withoutEvents(message: string): TidegateError {
  return new TidegateError('LAW_WITHOUT_EVENTS', {
    message,
    retryable: false,
    hint: "give testConsumer the folder of schemas, or laws the data: { samples: { 'com.acme.climate': [{ temperature: 71 }] } }",
  })
}
