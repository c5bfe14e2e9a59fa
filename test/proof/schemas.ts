import fc from 'fast-check'
import { outcomeOf, type Rule } from '../../cloud/schemas/compatibility/goal.ts'
import { allRules } from '../../cloud/schemas/compatibility/prove.ts'
import { numberAt } from '../../cloud/schemas/language/words.ts'
import { multiplesOf } from '../../src/schemas/decimal.ts'
import { programOf, wholeNumber } from '../../src/settings/command-line.ts'
import { type Pair, pairs } from '../support/cloud/schemas/pairs.ts'
import { faultOfVerdict } from '../support/cloud/schemas/verdicts.ts'
import { seedOption } from './seed.ts'

interface Options {
  pairs: number
  plants: boolean
  seed: number
}

const options = programOf(
  'npm run prove:schemas --',
  `Compares pairs of generated schemas: what is called compatible must survive generated documents, and what is called incompatible must have a document
that shows it. Then plants wrong rules, one at a time: each must be found by the same pairs.`,
)
  .option('--pairs <count>', 'how many', wholeNumber(), 10_000)
  .option('--no-plants', 'plant nothing')
  .addOption(seedOption())
  .parse()
  .opts<Options>()

const always: Rule['holds'] = () => 'holds'

/** Rules that are a little wrong. */
const subtle: Readonly<Record<string, Rule['holds']>> = {
  'maximum, but for one': ({ facts, reader }) =>
    outcomeOf(facts.most.value <= (numberAt(reader, 'maximum') ?? Infinity) + 1),
  'exclusiveMinimum, open or not': ({ facts, reader }) =>
    outcomeOf(facts.least.value >= (numberAt(reader, 'exclusiveMinimum') ?? -Infinity)),
  'multipleOf, the wrong way about': ({ facts, reader }) =>
    outcomeOf(facts.divisors.some((divisor) => multiplesOf(divisor)(numberAt(reader, 'multipleOf') ?? 1))),
  'minItems, but for one': ({ facts, reader }) =>
    outcomeOf(facts.itemsMin + 1 >= (numberAt(reader, 'minItems') ?? 0)),
  'maxLength, of numbers too': ({ facts, reader }) =>
    outcomeOf(facts.lengthMin <= (numberAt(reader, 'maxLength') ?? Infinity)),
}

const plants: readonly (readonly [string, Readonly<Record<string, Rule>>])[] = [
  ...Object.keys(allRules).map((name) => [`${name} holds always`, planted(name, always)] as const),
  ...Object.entries(subtle).map(([what, holds]) => [what, planted(what.split(',')[0] ?? '', holds)] as const),
]

function planted(name: string, holds: Rule['holds']): Readonly<Record<string, Rule>> {
  return { ...allRules, [name]: { of: allRules[name]?.of ?? [], holds } }
}

/** The same pairs, however often they are asked for. */
function* pairsOf(seed: number, count: number): Generator<Pair> {
  const atOnce = 500
  for (let at = 0; at < count; at += atOnce)
    yield* fc.sample(pairs, { numRuns: Math.min(atOnce, count - at), seed: seed + at })
}

function prove({ pairs: count, seed }: Options): number {
  const answers = new Map<string, number>()
  let faults = 0
  for (const pair of pairsOf(seed, count)) {
    const { answer, fault } = faultOfVerdict(pair, { documents: 100 })
    answers.set(answer, (answers.get(answer) ?? 0) + 1)
    if (fault === undefined) continue
    faults += 1
    if (faults <= 10) say(fault)
  }
  say(
    `seed ${seed}: ${count} pairs, ${[...answers].map(([answer, many]) => `${many} ${answer}`).join(', ')}; ${faults} at fault`,
  )
  return faults
}

/** How many planted rules were not found. */
function plant({ pairs: count, seed }: Options): number {
  let missed = 0
  for (const [what, rules] of plants) {
    let looked = 0
    let isFound = false
    for (const pair of pairsOf(seed, count)) {
      looked += 1
      isFound = faultOfVerdict(pair, { documents: 60, rules }).fault !== undefined
      if (isFound) break
    }
    if (!isFound) missed += 1
    say(isFound ? `found after ${looked} pairs: ${what}` : `NOT FOUND in ${looked} pairs: ${what}`)
  }
  return missed
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

const startedMs = performance.now()
const faults = prove(options)
const missed = options.plants ? plant(options) : 0
say(`${Math.round((performance.now() - startedMs) / 1000)} s`)
process.exitCode = faults + missed === 0 ? 0 : 1
