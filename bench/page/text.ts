import type { Comparison } from '../run/catalogue.ts'
import { type FigureName, figureNames, figures, figureText } from '../run/figures.ts'
import type { CaseResult, Machine } from '../run/results.ts'
import { ratioOf, type Spread, spreadOf } from '../run/statistics.ts'

/** `2 × Some CPU, Node v20.20.2, Linux 6.1.0; load average before: 0.3` */
export function machineText({ cores, model, node, kernel, loadBefore }: Machine): string {
  return `${cores} × ${model}, Node ${node}, Linux ${kernel}; load average before: ${loadBefore}`
}

/** `15,200 (14,900–15,800)`: the median, and what the rounds lay between. */
export function spreadText(spread: Spread, text: (value: number) => string): string {
  const [median, min, max] = [text(spread.median), text(spread.min), text(spread.max)]
  return min === max ? median : `${median} (${min}–${max})`
}

/** `one round`, `3 rounds` */
export function roundsText({ rounds }: Pick<CaseResult, 'rounds'>): string {
  return rounds === 1 ? 'one round' : `${rounds} rounds`
}

export function ratioText(ratio: Spread): string {
  return spreadText(ratio, (value) => value.toPrecision(value >= 100 ? 3 : value >= 0.1 ? 3 : 2))
}

/** What was seen of a comparison; undefined if one of the two was not measured. */
export function seenOf(result: CaseResult, { figure, of, to }: Comparison): Spread | undefined {
  const values = (name: string): number[] =>
    result.subjects.find((subject) => subject.name === name)?.figures[figure] ?? []
  return to === undefined ? spreadOf(values(of)) : ratioOf(values(of), values(to))
}

export function seenText(comparison: Comparison, seen: Spread): string {
  if (comparison.to !== undefined) return ratioText(seen)
  return spreadText(seen, (value) => figureText(comparison.figure, value))
}

/** Tables of every subject's figures, headers first: a table for those that show the same figures. */
export function subjectTables({ subjects }: Pick<CaseResult, 'subjects'>): string[][][] {
  const alike = new Map<string, { names: FigureName[]; rows: string[][] }>()
  for (const { name: subject, revision, figures: values } of subjects) {
    const names = figureNames.filter((name) => values[name] !== undefined)
    const table = alike.get(names.join()) ?? { names, rows: [] }
    alike.set(names.join(), table)
    table.rows.push([
      revision === undefined ? subject : `${subject} @ ${revision}`,
      ...names.map((name) => {
        const spread = spreadOf(values[name] ?? [])
        return spread ? spreadText(spread, (value) => figureText(name, value)) : ''
      }),
    ])
  }
  return [...alike.values()].map(({ names, rows }) => [
    ['', ...names.map((name) => figures[name].title)],
    ...rows,
  ])
}

/** This checkout over the other, figure by figure, of the subjects that both have; the header first. */
export function againstRows({ subjects }: Pick<CaseResult, 'subjects'>): string[][] {
  const rows = subjects
    .filter(({ revision }) => revision === undefined)
    .flatMap((ours) => {
      const theirs = subjects.find(({ name, revision }) => name === ours.name && revision !== undefined)
      return figureNames.flatMap((name) => {
        const ratio = ratioOf(ours.figures[name] ?? [], theirs?.figures[name] ?? [])
        return ratio
          ? [[ours.name, figures[name].title, ratioText(ratio), `${figures[name].better} is better`]]
          : []
      })
    })
  return [['', 'figure', 'new : old', ''], ...rows]
}
