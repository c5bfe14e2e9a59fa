import type { CatalogueEntry } from '../run/catalogue.ts'
import type { CaseResult } from '../run/results.ts'
import { againstRows, machineText, roundsText, seenOf, seenText, subjectTables } from './text.ts'

/** What a person reads when a case is over: ratios first. */
export function reportOf(entry: CatalogueEntry, result: CaseResult): string {
  const compared = result.subjects.some(({ revision }) => revision !== undefined)
  const ratios = entry.comparisons.flatMap((comparison) => {
    const seen = seenOf(result, comparison)
    return seen ? [[comparison.title, seenText(comparison, seen)]] : []
  })
  return [
    `\n${entry.title} (${entry.name})`,
    machineText(result.machine),
    `${roundsText(result)}: medians, and what the rounds lay between`,
    '',
    ...(compared ? table(againstRows(result)) : table(ratios)),
    ...subjectTables(result).flatMap((rows) => ['', ...table(rows)]),
  ].join('\n')
}

/** Columns one under the other, the first to the left. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows.map((row) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  )
}
