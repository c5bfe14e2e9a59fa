import { constants, readFileSync } from 'node:fs'
import { type FileHandle, open, readFile } from 'node:fs/promises'

/** In place of a boot's name where the system gives none: such a word is never taken for the newest. */
const namelessBoot = '-'.repeat(36)

/**
 * The file beside a store that holds the last word given to a device. It is overwritten in place by one short write, which
 * the operating system has when the promise resolves: kill -9 takes nothing of it, a power cut may take it back to an older word.
 * In front of the word stands the boot of the machine in which it was written.
 */
export class AnsweredFile {
  readonly #file: FileHandle
  readonly #boot = bootName()
  #closed: Promise<void> | undefined

  static async open(path: string): Promise<AnsweredFile> {
    return new AnsweredFile(await open(path, constants.O_RDWR | constants.O_CREAT, 0o600))
  }

  private constructor(file: FileHandle) {
    this.#file = file
  }

  /** @param word as long as every other, so that nothing of the one before is left */
  async write(word: string, { sync }: { sync: boolean }): Promise<void> {
    await this.#file.write(`${this.#boot} ${word}`, 0)
    if (sync) await this.#file.datasync()
  }

  close(): Promise<void> {
    return (this.#closed ??= this.#file.close())
  }
}

/** The word in the file, and whether it was written in this boot of the machine; undefined: there is none. */
export async function readAnswered(file: string): Promise<{ word: string; newest: boolean } | undefined> {
  const text = await readFile(file, 'utf8').catch(() => undefined)
  if (text === undefined || text.length <= namelessBoot.length) return undefined
  const boot = text.slice(0, namelessBoot.length)
  return {
    word: text.slice(namelessBoot.length + 1),
    newest: boot !== namelessBoot && boot === bootName(),
  }
}

/** Linux names each boot of the machine (proc(5), `/proc/sys/kernel/random/boot_id`). */
function bootName(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1')
      .trim()
      .padEnd(namelessBoot.length)
      .slice(0, 36)
  } catch {
    return namelessBoot
  }
}
