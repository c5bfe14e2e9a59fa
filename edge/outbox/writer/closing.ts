import { codeOf, messageOf } from '../../../src/errors.ts'
import type { Core } from './core.ts'
import { Draft } from './draft.ts'
import { encodeAnswered } from '../layout/answered.ts'
import { encodeHead } from '../layout/head.ts'

/** The last word on how the outbox stands, and the end of its store. */
export async function closeStore(
  { state, steady, options }: Core,
  { inOrder }: { inOrder: boolean },
): Promise<void> {
  const { store } = state
  try {
    // After a failed write only the disk knows how it stands: the head in memory could undo what has landed.
    if (!inOrder) return
    const draft = new Draft(state)
    draft.head.clean = true
    draft.touch()
    await store.write(draft.finish(steady.now(), steady.wallMs()), { sync: true })
    await options.folder.writeMark(encodeHead(draft.head))
    await store.noteAnswered(encodeAnswered(draft.head, { closed: true }), { sync: true })
  } catch (error) {
    options.log.warn({ code: codeOf(error), detail: messageOf(error) }, 'the outbox was not closed in order')
  } finally {
    await store.close()
  }
}
