import { Maker } from '../documents/maker.ts'
import { Random } from '../documents/random.ts'
import type { Json } from '../language/json.ts'
import { type Node, SchemaDocument } from '../language/node.ts'
import { OutOfWork, Work } from '../language/work.ts'
import { explains, Judges, showsIn } from './evidence.ts'
import { type Finding, findingOf, inOrder, keyOfGap, type Shown, tooMuch, unexplained } from './findings.ts'
import type { Rule } from './goal.ts'
import { allRules, type Gap, gapsOf } from './prove.ts'
import type { Version } from './version.ts'
import { smaller, witnessOf } from './witness.ts'

/**
 * `compatible`: by rule, and no generated document says otherwise. `incompatible`: there is a document, confirmed by the validators of
 * `src/schemas`, that the writer accepts and the reader refuses. `unknown`: neither was shown within the work that a comparison may take.
 */
export type Answer = 'compatible' | 'incompatible' | 'unknown'

export interface Comparison {
  answer: Answer
  findings: Finding[]
  /** Generated documents that the writer accepts and that were shown to the reader. */
  tried: number
}

export interface CompareOptions {
  /** Other versions of the type, to which references may lead. */
  others?: readonly Json[]
  /** Documents that are generated when no finding is in the way. */
  documents?: number
  seed?: number
  /** Of a proof; and of all that is generated. */
  stepsMax?: number
  rules?: Readonly<Record<string, Rule>>
}

const defaultDocuments = 1000
const defaultStepsMax = 200_000
const searchStepsMax = 15_000
/** Witnesses are looked for so many of the gaps: where there are more, they are much alike. */
const searchesMax = 20
/** Of the validators, for all documents together: half a second as a rule. */
const judgedStepsMax = 20_000_000

/**
 * Whether every document that `writer` accepts `reader` accepts as well. Ends for any two schemas: what it does is counted in steps, those of the validators
 * too. The same for the same seed.
 */
export function compare(writer: Version, reader: Version, options: CompareOptions = {}): Comparison {
  const { documents = defaultDocuments, stepsMax = defaultStepsMax } = options
  const comparing = new Comparing(writer, reader, options)
  const isWhole = comparing.prove()
  comparing.search()
  const tried = comparing.isBroken ? 0 : comparing.generate(documents)
  const findings = [...comparing.findings(), ...(isWhole ? [] : [tooMuch(stepsMax)])]
  return { answer: answerOf(findings), findings: inOrder(findings), tried }
}

function answerOf(findings: readonly Finding[]): Answer {
  if (findings.some(({ answer }) => answer === 'incompatible')) return 'incompatible'
  return findings.length > 0 ? 'unknown' : 'compatible'
}

/** What is asked at one place, in the cases in which the writer says something of it and in those where it does not; and what shows that. */
interface Question {
  declared: Gap[]
  undeclared: Gap[]
  /** In a case where the writer speaks of it. */
  breaks?: { gap: Gap; shown: Shown }
  open?: { gap: Gap; shown: Shown }
}

function isDeclared({ declared }: Question): boolean {
  return declared.length > 0
}

class Comparing {
  readonly #from: Node
  readonly #to: Node
  readonly #judges: Judges
  readonly #random: Random
  readonly #stepsMax: number
  readonly #rules: Readonly<Record<string, Rule>>
  #questions: Question[] = []
  #strange: Shown | undefined

  constructor(
    writer: Version,
    reader: Version,
    { others = [], seed = 1, stepsMax = defaultStepsMax, rules = allRules }: CompareOptions,
  ) {
    this.#from = new SchemaDocument('writer', writer.schema, others).root
    this.#to = new SchemaDocument('reader', reader.schema, others).root
    this.#judges = new Judges(writer, reader, judgedStepsMax)
    this.#random = new Random(seed)
    this.#stepsMax = stepsMax
    this.#rules = rules
  }

  /** Something breaks that the writer has spoken of. */
  get isBroken(): boolean {
    return this.#strange !== undefined || this.#questions.some(({ breaks }) => breaks !== undefined)
  }

  /** False: it took more than it may. */
  prove(): boolean {
    const gaps: Gap[] = []
    const isWhole = untilOutOfWork(() => {
      gaps.push(...gapsOf(this.#from, this.#to, new Work(this.#stepsMax), this.#rules))
    })
    const questions = new Map<string, Question>()
    for (const gap of gaps) {
      const key = keyOfGap(gap)
      const question = questions.get(key) ?? { declared: [], undeclared: [] }
      question[gap.place.isUndeclared ? 'undeclared' : 'declared'].push(gap)
      questions.set(key, question)
    }
    this.#questions = [...questions.values()]
    return isWhole
  }

  /** Looks for documents that show what was not proven; first for what would be in the way. */
  search(): void {
    const inTurn = [
      ...this.#questions.filter(isDeclared),
      ...this.#questions.filter((one) => !isDeclared(one)),
    ]
    let searches = 0
    for (const question of inTurn) {
      for (const gap of [...question.declared, ...question.undeclared]) {
        if (question.breaks || question.open || searches >= searchesMax) break
        searches += 1
        this.#searchOne(question, gap)
      }
    }
  }

  #searchOne(question: Question, gap: Gap): void {
    const work = new Work(searchStepsMax)
    const confirms = (document: Json): boolean =>
      this.#judges.accepts(document) && showsIn(gap, document, this.#judges.refusals(document), work)
    const witness = witnessOf(gap, { work, random: this.#random, confirms })
    if (witness === undefined) return
    untilOutOfWork(() => {
      const shown = { witness, faults: this.#judges.refusals(witness) }
      this.#note(question, gap, shown, new Work(searchStepsMax))
    })
  }

  /** What lies in a case where the name is declared breaks what the writer has said, however it was come by. */
  #note(question: Question, gap: Gap, shown: Shown, work: Work): void {
    const declared = gap.place.isUndeclared
      ? question.declared.find((one) => showsIn(one, shown.witness, shown.faults, work))
      : gap
    if (declared) question.breaks = { gap: declared, shown }
    else question.open ??= { gap, shown }
  }

  /** How many documents were shown to the reader, until one breaks. */
  generate(count: number): number {
    const work = new Work(this.#stepsMax)
    const maker = new Maker(work, this.#random)
    let tried = 0
    untilOutOfWork(() => {
      for (let made = 0; made < count && !this.isBroken; made += 1) {
        const document = maker.make([this.#from], [this.#to])
        if (document === undefined || !this.#judges.accepts(document)) continue
        const faults = this.#judges.refusals(document)
        tried += 1
        if (faults.length > 0) this.#explain({ witness: document, faults }, work)
      }
    })
    return tried
  }

  #explain(shown: Shown, work: Work): void {
    const { witness, faults } = shown
    for (const question of this.#questions)
      for (const gap of question.declared)
        if (showsIn(gap, witness, faults, work)) {
          const least = this.#smaller(witness, (document, found) => showsIn(gap, document, found, work))
          question.breaks = { gap, shown: least }
          return
        }
    const isStrange = (document: Json, found: typeof faults): boolean =>
      found.some((fault) => !this.#isOfOpenModel(document, fault, work))
    if (isStrange(witness, faults)) this.#strange = this.#smaller(witness, isStrange)
  }

  #isOfOpenModel(document: Json, fault: Shown['faults'][number], work: Work): boolean {
    return this.#questions.some(({ undeclared }) =>
      undeclared.some((gap) => explains(gap, document, fault, work)),
    )
  }

  #smaller(witness: Json, shows: (document: Json, faults: Shown['faults']) => boolean): Shown {
    let faults = this.#judges.refusals(witness)
    const least = smaller(witness, (document) => {
      if (!this.#judges.accepts(document)) return false
      const found = this.#judges.refusals(document)
      if (found.length === 0 || !shows(document, found)) return false
      faults = found
      return true
    })
    return { witness: least, faults }
  }

  findings(): Finding[] {
    const found = this.#questions.flatMap(({ declared, undeclared, breaks, open }) => {
      if (breaks) return [findingOf(breaks.gap, breaks.shown)]
      const [first] = declared
      const [other] = undeclared
      return [
        ...(first ? [findingOf(first, undefined)] : []),
        ...(other ? [findingOf(open?.gap ?? other, open?.shown)] : []),
      ]
    })
    return this.#strange ? [...found, unexplained(this.#strange)] : found
  }
}

/** Whether it came to its end. */
function untilOutOfWork(go: () => void): boolean {
  try {
    go()
    return true
  } catch (error) {
    if (error instanceof OutOfWork) return false
    throw error
  }
}
