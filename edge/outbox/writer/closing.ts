import type { Checkpoint } from '../../../src/contract/checkpoint.ts'
import { codeOf, messageOf } from '../../../src/errors.ts'
import { enterCheckpoint } from './checkpoints.ts'
import type { Core } from './core.ts'
import { Draft } from './draft.ts'
import { encodeAnswered } from '../layout/answered.ts'
import { encodeHead } from '../layout/head.ts'

/** The last word on how the outbox stands, and the end of its store. */
export async function closeStore(
  core: Core,
  { inOrder, checkpoint }: { inOrder: boolean; checkpoint: Checkpoint | undefined },
): Promise<void> {
  const { state, steady, options } = core
  const { store } = state
  try {
    // After a failed write only the disk knows how it stands: the head in memory could undo what has landed.
    if (!inOrder) return
    const draft = new Draft(state)
    if (checkpoint) enterCheckpoint(core, draft, checkpoint)
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
