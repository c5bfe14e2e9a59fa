import { pathToFileURL } from 'node:url'
import { messageOf, TidegateError } from '../../errors.ts'
import { upcastFolder } from '../folder.ts'
import { digestOf } from '../lock.ts'
import type { SchemaRegistry } from '../registry.ts'
import { namesIn, type SchemaSource, textIn, topNamesIn } from '../source.ts'
import { type Case, caseFaults, parseCases } from './cases.ts'
import type { Upcast, Upcasts } from './chain.ts'
import { parseUpcast } from './file.ts'
import { applySteps } from './steps.ts'

/**
 * What lies in `<folder>/<type>/upcast/`: `1-2.yaml`, or `1-2.js` with `1-2.cases.json` beside it, from each version to the next one that
 * there is. Functions are loaded, and cases are run, before the first event; one whose code is not taken from there has a step in its place
 * that waits for it. Between two types others have their turn.
 * @throws TidegateError `SCHEMA_FOLDER` naming every file that cannot be used
 */
export async function loadUpcasts(
  source: SchemaSource,
  registry: SchemaRegistry,
  types: readonly string[] = topNamesIn(source),
): Promise<Upcasts> {
  const found = new Map<string, Upcast>()
  const faults: string[] = []
  for (const type of types) {
    await new Promise((resume) => setImmediate(resume))
    for (const [step, files] of filesByStep(namesIn(source, `${type}/${upcastFolder}`))) {
      const place = { source, type, step, files }
      const read = await readStep(place, registry)
      faults.push(...read.faults.map((fault) => `${type}/${upcastFolder}/${fault}`))
      if (read.upcast) found.set(keyOf(type, read.upcast.from, read.upcast.to), read.upcast)
    }
  }
  if (faults.length === 0) {
    const absent = [...found].filter(([, { isAbsent }]) => isAbsent).map(([key]) => key)
    return { find: (type, from, to) => found.get(keyOf(type, from, to)), absent }
  }
  throw new TidegateError('SCHEMA_FOLDER', {
    message: `${source.name} holds upcasters that cannot be used:\n${faults.map((fault) => `  ${fault}`).join('\n')}`,
    retryable: false,
    hint: 'see docs/VERSIONS.md, Upcasters, for what they are and how their cases look',
  })
}

const keyOf = (type: string, from: number, to: number): string => `${type}/${from}-${to}`

const namePattern = /^([1-9]\d{0,5})-([1-9]\d{0,5})\.(yaml|js|cases\.json)$/

/** By `1-2`, which files there are; under its own name what is no such file. */
function filesByStep(names: readonly string[]): Map<string, string[]> {
  const byStep = new Map<string, string[]>()
  for (const name of names) {
    const match = namePattern.exec(name)
    const step = match ? `${match[1]}-${match[2]}` : name
    byStep.set(step, [...(byStep.get(step) ?? []), match ? `.${match[3]}` : ''])
  }
  return byStep
}

interface Place {
  source: SchemaSource
  type: string
  step: string
  files: readonly string[]
}

async function readStep(
  place: Place,
  registry: SchemaRegistry,
): Promise<{ upcast?: Upcast; faults: readonly string[] }> {
  const { source, type, step, files } = place
  const [from = 0, to = 0] = step.split('-').map(Number)
  const nameFault = faultOfName(place, from, to, registry)
  if (nameFault !== undefined) return { faults: [nameFault] }
  const isFunction = files.includes('.js')
  const name = isFunction ? `${step}.js` : `${step}.yaml`
  const at = (file: string): string => `${type}/${upcastFolder}/${file}`
  const text = (file: string): string => textIn(source, at(file)) ?? ''
  const cases = files.includes('.cases.json')
    ? parseCases(text(`${step}.cases.json`))
    : { cases: [], faults: [] }
  const digest = digestOf(source.files.get(at(name)) as Uint8Array)
  const module = source.moduleAt(at(name))
  const made = !isFunction
    ? readDeclared(text(name), { from, to })
    : module === undefined
      ? { upcast: absentCode(at(name), { from, to }), faults: [] }
      : await loadFunction(module, digest, { from, to })
  const faults = [
    ...made.faults.map((fault) => `${name}: ${fault}`),
    ...cases.faults.map((fault) => `${step}.cases.json: ${fault}`),
  ]
  if (made.upcast === undefined || faults.length > 0) return { faults }
  const failed = made.upcast.isAbsent ? [] : failedCases(made.upcast, cases.cases, type, registry)
  return { upcast: { ...made.upcast, digest }, faults: failed.map((fault) => `${step}.cases.json: ${fault}`) }
}

function faultOfName(
  { type, step, files }: Place,
  from: number,
  to: number,
  registry: SchemaRegistry,
): string | undefined {
  if (files.includes('')) return `${step}: an upcast is 1-2.yaml, or 1-2.js with 1-2.cases.json beside it`
  const unknown = [from, to].find((version) => !registry.has(type, version))
  if (unknown !== undefined) return `${step}: there is no ${type}/${unknown}.json`
  const next = registry.versions(type).find((version) => version > from)
  if (next !== to)
    return `${step}: the version after ${from} is ${next ?? 'none'}; a step leads to the next one`
  if (files.includes('.yaml') && files.includes('.js'))
    return `${step}: is there as .yaml and as .js; keep one`
  if (!files.includes('.yaml') && !files.includes('.js'))
    return `${step}.cases.json: there is no upcast for these cases`
  if (files.includes('.js') && !files.includes('.cases.json'))
    return `${step}.js: needs ${step}.cases.json, which shows what it does`
  return undefined
}

type Made = { upcast?: Upcast; faults: readonly string[] }
type Ends = Pick<Upcast, 'from' | 'to'>

function readDeclared(text: string, ends: Ends): Made {
  const parsed = parseUpcast(text)
  if (!('steps' in parsed)) return parsed
  const { steps } = parsed
  return { upcast: { ...ends, steps, apply: (data) => applySteps(data, steps) }, faults: [] }
}

/** Code is taken from a folder alone, and nothing else stops for want of it: what needs this step waits for the file. */
function absentCode(file: string, ends: Ends): Upcast {
  return {
    ...ends,
    isAbsent: true,
    apply() {
      throw new TidegateError('SCHEMA_UNKNOWN', {
        message: `${file} is code, which is taken from a folder alone, and is not there as it was published`,
        retryable: true,
        hint: `put ${file} into the folder of schemas.folder, as it was published: what waits is handed over then`,
      })
    },
  }
}

/** One that has changed is another module. What it imports is loaded once. */
async function loadFunction(file: string, digest: string, ends: Ends): Promise<Made> {
  let made: unknown
  try {
    made = ((await import(`${pathToFileURL(file).href}?sha256=${digest}`)) as { default?: unknown }).default
  } catch (error) {
    return { faults: [`cannot be loaded: ${messageOf(error)}`] }
  }
  if (typeof made !== 'function') return { faults: ['must default-export a function of the data'] }
  const bring = made as (data: unknown) => unknown
  // A copy each way: of what it keeps or changes nobody else sees anything, and what it answers is what JSON says of it.
  return { upcast: { ...ends, apply: (data) => asJson(bring(structuredClone(data))) }, faults: [] }
}

function asJson(value: unknown): unknown {
  if (isThenable(value)) {
    Promise.resolve(value).catch(() => {})
    throw new Error('it answers with a promise: an upcast is a function of the data alone')
  }
  const text = JSON.stringify(value) as string | undefined
  if (text === undefined || !isJson(value))
    throw new Error('it answers with something that JSON does not know')
  return JSON.parse(text)
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}

/** Of what JSON would write as something else, or as nothing: a Map, Infinity. What says itself what it is in JSON is that. */
function isJson(value: unknown): boolean {
  if (typeof value === 'number') return Number.isFinite(value)
  if (typeof value !== 'object' || value === null) return true
  if ('toJSON' in value || Array.isArray(value)) return !Array.isArray(value) || value.every(isJson)
  const made: unknown = Object.getPrototypeOf(value)
  return (made === Object.prototype || made === null) && Object.values(value).every(isJson)
}

function failedCases(
  upcast: Upcast,
  cases: readonly Case[],
  type: string,
  registry: SchemaRegistry,
): string[] {
  const under = (version: number) => (data: unknown) => registry.faults(type, version, data)
  const nameOf = (each: Case): string => `case ${each.name ?? cases.indexOf(each) + 1}`
  const faults = cases.flatMap((each) =>
    caseFaults(each, upcast, { before: under(upcast.from), after: under(upcast.to) }).map(
      (fault) => `${nameOf(each)}: ${fault}`,
    ),
  )
  if (faults.length > 0) return faults
  // What it keeps from run to run shows when they come in another order.
  return cases
    .toReversed()
    .filter((each) => caseFaults(each, upcast, { before: () => [], after: () => [] }).length > 0)
    .map(
      (each) =>
        `${nameOf(each)}: it makes something else of it behind other cases: it is to depend on the data alone`,
    )
}
