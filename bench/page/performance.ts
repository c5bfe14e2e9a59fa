import { catalogue, type CatalogueEntry, type Comparison } from '../run/catalogue.ts'
import { figures } from '../run/figures.ts'
import type { CaseResult, Machine, Results } from '../run/results.ts'
import type { Spread } from '../run/statistics.ts'
import { barChart } from './plot.ts'
import { machineText, roundsText, seenOf, seenText, subjectTables } from './text.ts'

/** Files below `docs/`, by their path there: the page, and what it shows. */
export function pageOf(results: Results): Map<string, string> {
  const files = new Map<string, string>()
  const shown = catalogue.flatMap((entry) => {
    const result = results.cases.find(({ name }) => name === entry.name)
    return result ? [{ entry, result }] : []
  })
  const sections = shown.map(({ entry, result }) => {
    const plots = (entry.plots ?? []).flatMap((figure) => {
      const svg = barChart(result, figure)
      if (svg === undefined) return []
      const path = `performance/${entry.name}-${figure}.svg`
      files.set(path, svg)
      return [`![${figures[figure].title}: ${entry.title}](${path})`]
    })
    return section(entry, result, plots)
  })
  const machines = new Set(shown.map(({ result }) => machineText(result.machine)))
  files.set(
    'PERFORMANCE.md',
    [
      intro,
      aims(shown),
      ...(machines.size === 0 ? [] : ['Each case has its machine below: load varies.']),
      ...sections,
    ].join('\n\n') + '\n',
  )
  return files
}

const intro = `<!-- Generated from bench/results.json by \`npm run bench -- --write\`; do not edit. -->

# Performance

Figures of one machine, with the load generator and all references on it too. What to trust are ratios, of subjects that took turns in the same
run, and CPU per event (user + system of the subject's process): absolute rates are those of a moment. Each figure is the median of
the rounds, with what they lay between in brackets. None of it is a test. How it is measured, and how to do so on yours: [bench](../bench/README.md).`

interface Shown {
  entry: CatalogueEntry
  result: CaseResult
}

/** Every aim, and what was seen of it. */
function aims(shown: readonly Shown[]): string {
  const rows = catalogue.flatMap((entry) =>
    entry.comparisons.flatMap((comparison) => {
      const { aim } = comparison
      if (!aim) return []
      const result = shown.find((one) => one.entry === entry)?.result
      const seen = result && seenOf(result, comparison)
      return [
        [
          comparison.title,
          seen ? `**${seenText(comparison, seen)}**` : 'not measured',
          seen ? standing(comparison, seen) : '',
          String(aim.done),
          String(aim.target),
          aim.stretch === undefined ? '' : String(aim.stretch),
        ],
      ]
    }),
  )
  return `## What we aim at\n\n${markdown([['', 'seen', 'reached', 'done at', 'target', 'stretch'], ...rows])}`
}

/** The furthest aim that the median reaches. */
export function standing({ figure, aim }: Comparison, { median }: Spread): string {
  if (!aim) return ''
  const reached = (value: number | undefined): boolean =>
    value !== undefined && (figures[figure].better === 'more' ? median >= value : median <= value)
  if (reached(aim.stretch)) return 'stretch'
  if (reached(aim.target)) return 'target'
  return reached(aim.done) ? 'done' : 'short'
}

function section(entry: CatalogueEntry, result: CaseResult, plots: readonly string[]): string {
  const ratios = entry.comparisons.flatMap((comparison) => {
    const seen = seenOf(result, comparison)
    return seen ? [[comparison.title, seenText(comparison, seen)]] : []
  })
  return [
    `## ${entry.title}`,
    entry.about,
    ...(ratios.length === 0 ? [] : [markdown([['', 'seen'], ...ratios])]),
    ...subjectTables(result).map(markdown),
    ...plots,
    `\`npm run bench -- ${entry.name}${result.full ? ' --full' : ''}\`, ${roundsText(result)} at ${result.revision}, ${result.measuredAt.slice(0, 10)}. ${machineLine(result.machine)}`,
  ].join('\n\n')
}

function machineLine(machine: Machine): string {
  return `${machineText(machine)}.`
}

/** A table that can be read as it is, too. */
function markdown(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(3, ...rows.map((row) => row[column]?.length ?? 0)),
  )
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`
  const [header = [], ...body] = rows
  return [line(header), line(widths.map((width) => '-'.repeat(width))), ...body.map(line)].join('\n')
}
