import type { Subject } from './case.ts'
import { figures, figureNames, figureText, type FigureName, type Sample } from './figures.ts'

/** What a subject showed, figure by figure, a value for each round. */
export interface Measured {
  subject: string
  /** Whose it is, if it is of a checkout other than this. */
  revision?: string
  figures: Partial<Record<FigureName, number[]>>
}

export interface Turns {
  rounds: number
  say: (line: string) => void
  /** Called before each turn: nobody pays for what another has left to be done. */
  settle: () => Promise<unknown>
}

/** Every subject in turn, round by round, so that whatever else the machine does hits all alike. */
export async function inTurns(
  subjects: readonly Subject[],
  { rounds, say, settle }: Turns,
): Promise<Measured[]> {
  const measured = subjects.map((subject): { subject: Subject; result: Measured } => ({
    subject,
    result: {
      subject: subject.name,
      ...(subject.product?.revision !== undefined && { revision: subject.product.revision }),
      figures: {},
    },
  }))
  for (let round = 1; round <= rounds; round++) {
    for (const { subject, result } of measured) {
      if (subject.once && round > 1) continue
      await settle()
      const sample = await subject.measure()
      for (const name of figureNames) {
        const value = sample[name]
        if (value !== undefined) (result.figures[name] ??= []).push(value)
      }
      const whose = result.revision === undefined ? '' : ` @ ${result.revision}`
      say(`  round ${round}, ${subject.name}${whose}: ${sampleText(sample)}`)
    }
  }
  return measured.map(({ result }) => result)
}

function sampleText(sample: Sample): string {
  return figureNames
    .flatMap((name) => {
      const value = sample[name]
      return value === undefined ? [] : [`${figures[name].title} ${figureText(name, value)}`]
    })
    .join(', ')
}
