import { counted } from '../../src/units.ts'
import type { Carried } from './carrying.ts'
import type {
  CheckedFolder,
  Direction,
  JudgedComparison,
  JudgedFinding,
  Standing,
  StoredEvidence,
} from './checks.ts'
import type { Finding } from './compatibility/findings.ts'
import type { Json } from './language/json.ts'

const saidMax = 60
const witnessMax = 400

/** What a check has found, all of it, with one line at the end that says whether it is fine. */
export function checkedText({ ok, faults, unlocked, missing, types, inTheWay }: CheckedFolder): string {
  const comparisons = types.flatMap((one) => one.comparisons)
  const files = [
    ...faults.map((fault) => `FAULT      ${fault}`),
    ...missing.map((name) => `FAULT      ${name}: is in schemas.lock and not on the disk; put it back`),
    ...unlocked.map((name) => `NOT LOCKED ${name}: tidegate schema add ${name.split('/', 1)[0] ?? ''}`),
  ]
  const told = comparisons.flatMap((one) => [
    ...(one.findings.length > 0 ? [comparisonText(one)] : []),
    ...noteOf(one),
  ])
  const tried = comparisons.reduce((sum, one) => sum + one.tried, 0)
  const count = [
    counted(types.length, 'event type'),
    counted(comparisons.length, 'comparison'),
    counted(tried, 'generated document'),
  ].join(', ')
  const verdict = ok
    ? `fine: ${count}`
    : `not fine: ${count}, ${files.length} of files and ${inTheWay} of versions in the way`
  return [...files, ...told, verdict].join('\n')
}

/** Of rules alone, if no document could be shown. */
export function noteOf({ type, version, against, direction, tried, findings }: JudgedComparison): string[] {
  const isInTheWay = findings.some(({ standing }) => standing === 'breaks' || standing === 'unknown')
  if (tried > 0 || isInTheWay) return []
  return [
    `NOTE       ${type} ${against} to ${version}  ${direction}: by rule alone: no document was generated that the writer accepts`,
  ]
}

/** A comparison as a person reads it: a line that says what was asked, and each finding with its evidence. */
export function comparisonText({
  type,
  version,
  against,
  direction,
  answer,
  findings,
  steps,
  carried,
}: JudgedComparison): string {
  const asked =
    direction === 'BACKWARD'
      ? `version ${version} is to read what version ${against} has written`
      : `version ${against} is to read what version ${version} writes`
  return [
    `${type} ${against} to ${version}  ${direction}: ${asked}: ${answer}`,
    ...findings.map((one) => findingText(one, { version, against, direction, steps })),
    ...(carried ? [carriedText(carried)] : []),
  ].join('\n')
}

function carriedText({ tried, failed, example, fault }: Carried): string {
  const count = `  the upcasters carry ${tried - failed} of ${tried} generated documents`
  if (example === undefined) return count
  return `${count}; not ${cut(JSON.stringify(example), witnessMax)} (${fault ?? ''})`
}

interface Pair {
  version: number
  against: number
  direction: Direction
  steps: readonly string[]
}

const labels: Readonly<Record<Standing, string>> = {
  breaks: 'BREAKS    ',
  unknown: 'UNKNOWN   ',
  accepted: 'accepted  ',
  'open model': 'open model',
  upcast: 'upcast    ',
}
const indent = ' '.repeat(13)

function findingText(finding: JudgedFinding, pair: Pair): string {
  const [writer, reader] =
    pair.direction === 'BACKWARD' ? [pair.against, pair.version] : [pair.version, pair.against]
  const { rule, path, schemaPath, witness, fault, standing } = finding
  const sides = `version ${writer} ${said(finding.writerSays)}, version ${reader} ${said(finding.readerSays)}`
  const lines = [
    `  ${labels[standing]} ${rule} at ${path || 'the top'}: ${sides} (${reader}.json#${schemaPath})`,
    witness === undefined
      ? `${indent}no document was found that version ${writer} accepts and version ${reader} refuses, and no rule shows that there is none`
      : `${indent}version ${writer} accepts it, version ${reader} does not: ${cut(JSON.stringify(witness), witnessMax)}${fault === undefined ? '' : ` (${fault})`}`,
    `${indent}${whatToDo(finding, pair)}`,
  ]
  return lines.join('\n')
}

function said(value: Json | undefined): string {
  return value === undefined ? 'says nothing' : `says ${cut(JSON.stringify(value), saidMax)}`
}

function cut(text: string, max: number): string {
  return text.length > max ? `${text.slice(0, max)}…` : text
}

function whatToDo(
  { standing, because, uncarried, stored, rule, schemaPath, path, witness }: JudgedFinding,
  { version, against, direction, steps }: Pair,
): string {
  switch (standing) {
    case 'accepted':
      return `accepted in type.yaml: ${because ?? ''}`
    case 'upcast':
      return `data of version ${against} is brought forward before it is read: ${because ?? ''}${
        uncarried !== undefined
          ? `, which does not carry this document (${uncarried}): it would be a dead letter; --strict counts it`
          : witness === undefined
            ? ''
            : ', which carries this document'
      }`
    case 'open model':
      if (stored !== undefined) return storedText(stored, against)
      return 'it breaks only data that carries this name with something else, which the writer never spoke of; --strict counts it'
    case 'unknown':
      return `say it in another way, or accept it in type.yaml: accepted: [{ version: ${version}, against: ${against}${direction === 'FORWARD' ? ', direction: FORWARD' : ''}, rule: ${JSON.stringify(rule)}, path: "${schemaPath || path}", reason: … }]`
    case 'breaks':
      return advice(rule, { direction, against, version, steps })
  }
}

const narrowing: Readonly<Record<string, string>> = {
  required:
    'a member that old data lacks cannot be required of it, with a default or without: leave it optional',
  type: 'let the type of before stay beside the new one',
  enum: 'let the values of before stay',
  const: 'let the value of before stay, by enum',
  properties: 'let what was allowed stay allowed',
  false: 'let what was allowed stay allowed',
}

function storedText({ events, failing, because, first }: StoredEvidence, against: number): string {
  const of = `of ${counted(events, 'event')} of version ${against}`
  if (failing === 0) return `settled by what is stored: none ${of} fails`
  const failed = `${failing} ${of} fail, for this or for something else${first === undefined ? '' : `: first ${first}`}`
  return because === undefined
    ? `not settled by what is stored: ${failed}; --strict counts it`
    : `${failed}; accepted in type.yaml: ${because}`
}

/** The files that could bring data forward: a step leads to the next version that there is. */
export function upcastFiles(steps: readonly string[]): string {
  return steps.map((step) => `upcast/${step}.yaml`).join(' and ')
}

function advice(rule: string, { direction, against, version, steps }: Pair): string {
  if (direction === 'FORWARD')
    return `readers of version ${against} will refuse such data: let version ${version} ask no less than version ${against}, or update its readers first and say compatibility: BACKWARD in type.yaml`
  const first = narrowing[rule] ?? `let ${rule} ask no more than before`
  return `${first}; or bring old data forward with ${upcastFiles(steps)}; or begin a type of another name`
}

/** How two versions differ, seen from the earlier one. */
export function differenceText(
  direction: Direction,
  finding: Finding,
  earlier: number,
  later: number,
): string {
  const comparison = { version: later, against: earlier, direction, steps: [] }
  const standing: Standing = finding.isUndeclared
    ? 'open model'
    : finding.answer === 'unknown'
      ? 'unknown'
      : 'breaks'
  return findingText({ ...finding, standing }, comparison)
    .split('\n')
    .slice(0, 2)
    .join('\n')
}
