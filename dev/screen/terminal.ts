import type { ReadStream, WriteStream } from 'node:tty'

/** A region at the end of the screen that is redrawn in place, and the keys pressed over it. */
export interface Terminal {
  draw(lines: readonly string[]): void
  /** Prints lines above the region, where they stay. */
  print(text: string): void
  /** Shows the cursor and gives the keyboard back. Idempotent. */
  close(): void
}

const hideCursor = '\u001b[?25l'
const showCursor = '\u001b[?25h'
const clearLine = '\u001b[K'
const clearBelow = '\u001b[J'

/** Draws by overwriting: nothing is cleared before its successor is there, so nothing flickers. */
export function openTerminal(options: {
  output: WriteStream
  /** Absent, or no terminal: no keys. */
  input?: ReadStream | undefined
  onKey: (key: string) => void
}): Terminal {
  const { output, input, onKey } = options
  let drawn = 0
  let open = true

  const listening = input?.isTTY ? input : undefined
  const keyPressed = (data: Buffer): void => {
    for (const key of data.toString('utf8')) onKey(key)
  }
  if (listening) {
    listening.setRawMode(true)
    listening.on('data', keyPressed)
    listening.resume()
  }
  const resized = (): void => {
    // The old lines may have wrapped to any number: start again on a clean screen.
    output.write(`\u001b[2J\u001b[H`)
    drawn = 0
  }
  output.on('resize', resized)
  output.write(hideCursor)

  const toTop = (): string => (drawn > 1 ? `\u001b[${drawn - 1}A\r` : '\r')
  return {
    draw(lines) {
      if (!open) return
      const fitting = lines.slice(0, Math.max(1, output.rows - 1))
      output.write(`${toTop()}${fitting.map((line) => line + clearLine).join('\n')}${clearBelow}`)
      drawn = fitting.length
    },
    print(text) {
      output.write(`${open ? toTop() + clearBelow : ''}${text}\n`)
      drawn = 0
    },
    close() {
      if (!open) return
      open = false
      output.off('resize', resized)
      if (listening) {
        listening.setRawMode(false)
        listening.off('data', keyPressed)
        listening.pause()
      }
      output.write(`${drawn > 0 ? '\n' : ''}${showCursor}`)
    },
  }
}
