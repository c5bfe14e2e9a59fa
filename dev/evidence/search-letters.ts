import type { HistoryReader, Identity } from '../watch/history.ts'
import type { Looked, See } from './search.ts'

/** Looks for events among the dead letters: a letter keeps the text that came, whatever has become of it since. */
export async function lookIntoLetters(
  sought: readonly Identity[],
  history: Pick<HistoryReader, 'lettersOf'>,
  see: See,
): Promise<Looked[]> {
  const letters = await history.lettersOf(sought)
  for (const { source, id, letter, group, state } of letters)
    see({ source, id }, { kind: 'letter', letter, group, state })
  const found = letters.length
  return [{ place: 'tidegate.dead_letters (of the missing events)', holds: found, looked: found }]
}
