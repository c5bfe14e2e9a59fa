/** Prints rows as a table, numbers to the right; the first row is the header. */
export function printTable(title: string, rows: (string | number)[][]): void {
  const cells = rows.map((row) => row.map((cell) => (typeof cell === 'number' ? grouped(cell) : cell)))
  const widths = (cells[0] ?? []).map((_, column) =>
    Math.max(...cells.map((row) => row[column]?.length ?? 0)),
  )
  console.log(`\n${title}`)
  cells.forEach((row, index) => {
    const line = row.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
    )
    console.log(`  ${line.join('  ')}`)
    if (index === 0) console.log(`  ${widths.map((width) => '-'.repeat(width)).join('  ')}`)
  })
}

function grouped(value: number): string {
  const text = Math.abs(value) >= 100 ? String(Math.round(value)) : String(Math.round(value * 100) / 100)
  return text.replace(/\B(?=(\d{3})+(?!\d)(?<!\.\d*))/g, ' ')
}
